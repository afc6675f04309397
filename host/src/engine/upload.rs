//! Sends sealed files to the replica, in order and without a gap.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Header, Level, PageSize, Txid, TxidRange};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::database::blocking;
use super::reconcile::{Remote, local_continues};
use super::status::{DatabaseShared, DatabaseState};
use super::worker::PermittedSnapshot;
use crate::capture::Snapshot;
use crate::spool::Spool;
use crate::store::{Body, Replica, body_from_file};
use crate::{Error, Result, clock};

/// How long to wait after a failed upload, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Pieces of a snapshot that wait for the store.
const SNAPSHOT_QUEUE: usize = 4;

/// Sends what capture seals.
pub(super) struct Uploads<'a> {
    pub(super) replica: &'a Replica,
    pub(super) shared: &'a DatabaseShared,
    pub(super) spool: Arc<Spool>,
    /// The last file of an earlier run.
    pub(super) sealed_before: Option<Txid>,
    /// How long to wait after a failed upload once capture has ended.
    pub(super) retry_at_end: Duration,
    /// Turns true when capture has ended.
    pub(super) ended: watch::Receiver<bool>,
}

impl Uploads<'_> {
    /// Waits for a replica that could not be listed at the start.
    ///
    /// # Errors
    ///
    /// If it turns out to be out of step with the local files.
    pub(super) async fn reach(&self) -> Result<()> {
        let mut pause = RETRY_MIN;
        loop {
            match self.replica.list_all().await {
                Ok(files) => {
                    let remote = Remote { files };
                    let (spool, seen) = (Arc::clone(&self.spool), remote.clone());
                    if !blocking(move || local_continues(&spool, &seen)).await? {
                        return Err(Error::unavailable(format!(
                            "{} went on without the local files; starting again from there",
                            self.replica
                        )));
                    }
                    let durable = remote.last_in_order();
                    self.shared.reached(remote.files, durable);
                    self.shared.set_state(DatabaseState::Replicating);
                    return Ok(());
                }
                Err(error) => {
                    self.failed("cannot list the replica", &error, &mut pause)
                        .await
                }
            }
        }
    }

    /// Sends until capture has ended and everything it sealed is durable. A snapshot that is
    /// being sent then is given up: it adds nothing to what can be restored.
    pub(super) async fn run(&self, snapshots: mpsc::Receiver<PermittedSnapshot>) -> Result<()> {
        tokio::select! {
            result = self.send_files() => result,
            () = self.send_snapshots(snapshots) => Ok(()),
        }
    }

    pub(super) async fn send_files(&self) -> Result<()> {
        let mut spooled = self.shared.subscribe_spooled();
        let mut ended = self.ended.clone();
        let mut page_size = None;
        loop {
            let marks = self.shared.marks();
            if marks.durable < marks.spooled {
                let next = marks.durable.map_or(Some(Txid::FIRST), Txid::next);
                let txid = next.ok_or_else(|| Error::internal("transaction ids are used up"))?;
                self.send_until_confirmed(txid, &mut page_size).await?;
            } else if *ended.borrow_and_update() {
                return Ok(());
            } else {
                tokio::select! {
                    changed = spooled.changed() => changed,
                    changed = ended.changed() => changed,
                }
                .map_err(|_| Error::internal("the capture of the database is gone"))?;
            }
        }
    }

    /// One transaction; the next is not sent before the replica has this one.
    ///
    /// # Errors
    ///
    /// If the local file cannot be read or is damaged: no other try helps.
    async fn send_until_confirmed(&self, txid: Txid, before: &mut Option<PageSize>) -> Result<()> {
        let mut pause = RETRY_MIN;
        loop {
            let (name, file, header) = self.open_local(txid).await?;
            let created_ms = header.timestamp_ms;
            let known = match before.take() {
                Some(known) => Some(known),
                None => self.page_size_before(txid).await?,
            };
            *before = Some(header.page_size);
            if known.is_some_and(|known| known != header.page_size) {
                self.snapshot_first(txid).await?;
            }
            let started = Instant::now();
            let body = body_from_file(file);
            match self.replica.put(Level::L0, name, created_ms, body).await {
                Ok(bytes) => {
                    tracing::debug!(%txid, bytes, "durable");
                    self.shared.added(ReplicaFile {
                        level: Level::L0,
                        name,
                        size: bytes,
                        created_ms,
                    });
                    self.shared.confirmed(txid, started.elapsed());
                    self.shared.set_state(DatabaseState::Replicating);
                    return Ok(());
                }
                Err(error) => {
                    self.failed(&format!("cannot send {txid}"), &error, &mut pause)
                        .await;
                }
            }
        }
    }

    /// The page size of the transaction before this one, if its file is still here.
    async fn page_size_before(&self, txid: Txid) -> Result<Option<PageSize>> {
        let Some(before) = Txid::new(txid.get().saturating_sub(1)) else {
            return Ok(None);
        };
        let name = FileName::new(TxidRange::single(before));
        let spool = Arc::clone(&self.spool);
        blocking(move || {
            if !spool.names()?.contains(&name) {
                return Ok(None);
            }
            Ok(Some(spool.header(name)?.page_size))
        })
        .await
    }

    /// Files with two page sizes cannot be read as one database, so a restore must begin with a
    /// snapshot from then on; it has to be there before the first file with the new size is.
    async fn snapshot_first(&self, txid: Txid) -> Result<()> {
        tracing::warn!(%txid, "the page size of the database has changed; a snapshot goes first");
        let mut snapshot = self.shared.subscribe_snapshot();
        self.shared
            .update(|marks| marks.page_size_changed = Some(txid));
        let mut ended = self.ended.clone();
        let sent = tokio::select! {
            sent = snapshot.wait_for(|snapshot| *snapshot >= Some(txid)) => sent.is_ok(),
            _ = ended.wait_for(|ended| *ended) => false,
        };
        self.shared.update(|marks| marks.page_size_changed = None);
        if sent {
            return Ok(());
        }
        Err(Error::unavailable(
            "replication ended before a snapshot with the new page size was sent; it is sent after \
             the next start",
        ))
    }

    /// Files of an earlier run are read to their end first: a power cut may have damaged them, and
    /// damage must not be sent.
    async fn open_local(&self, txid: Txid) -> Result<(FileName, std::fs::File, Header)> {
        let name = FileName::new(TxidRange::single(txid));
        let is_old = Some(txid) <= self.sealed_before;
        let spool = Arc::clone(&self.spool);
        blocking(move || {
            let header = if is_old {
                spool.verify(name)?
            } else {
                spool.header(name)?
            };
            Ok((name, spool.open_file(name)?, header))
        })
        .await
    }

    /// Records a failure and waits: longer each time, but not once capture has ended.
    async fn failed(&self, what: &str, error: &Error, pause: &mut Duration) {
        self.shared.update(|marks| {
            marks.consecutive_failures = marks.consecutive_failures.saturating_add(1);
        });
        tracing::warn!(%error, "{what}; it is tried again");
        self.shared
            .set_state(DatabaseState::ReplicaFailing(error.to_string()));
        let mut ended = self.ended.clone();
        if *ended.borrow_and_update() {
            tokio::time::sleep(self.retry_at_end).await;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(jitter(*pause)) => {}
            // The last tries begin at once.
            _ = ended.changed() => {}
        }
        *pause = pause.saturating_mul(2).min(RETRY_MAX);
    }

    /// A snapshot that fails is not lost work to grieve for: the policy asks again.
    async fn send_snapshots(&self, mut snapshots: mpsc::Receiver<PermittedSnapshot>) {
        while let Some((snapshot, _permit)) = snapshots.recv().await {
            let txid = snapshot.txid;
            match put_snapshot(self.replica, snapshot).await {
                Ok(file) => {
                    tracing::info!(%txid, bytes = file.size, "snapshot durable");
                    self.shared.added(file);
                }
                Err(error) => tracing::warn!(%txid, %error, "snapshot failed; it is tried again"),
            }
            self.shared.update(|marks| marks.snapshot_running = false);
        }
        // The files decide when everything is sent.
        std::future::pending().await
    }
}

async fn put_snapshot(replica: &Replica, snapshot: Snapshot) -> Result<ReplicaFile> {
    let range = TxidRange::new(Txid::FIRST, snapshot.txid)
        .ok_or_else(|| Error::internal("a snapshot ends before it starts"))?;
    let (name, created_ms) = (FileName::new(range), clock::now_ms());
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(SNAPSHOT_QUEUE);
    let encoding = tokio::task::spawn_blocking(move || {
        let gone = || Error::unavailable("the upload of the snapshot ended early");
        let result = snapshot.write(created_ms, &mut |bytes| {
            sender
                .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
                .map_err(|_| gone())
        });
        if let Err(error) = result {
            // The upload must fail too: half a snapshot is none.
            let _ = sender.blocking_send(Err(std::io::Error::other(error)));
        }
    });
    let body: Body = Box::pin(stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }));
    let size = replica.put(Level::SNAPSHOT, name, created_ms, body).await;
    encoding
        .await
        .map_err(|error| Error::internal("the snapshot task died").with_source(error))?;
    Ok(ReplicaFile {
        level: Level::SNAPSHOT,
        name,
        size: size?,
        created_ms,
    })
}

/// Spreads retries of many databases: between half and all of `pause`.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
