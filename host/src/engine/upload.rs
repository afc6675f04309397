//! Sends sealed files to the replica, in order and without a gap.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::ownership::lost_head;
use lockkeeper_ltx::{FileName, Level, PageSize, Txid, TxidRange};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::database::blocking;
use super::ownership::{Ownership, is_final};
use super::reconcile::{Remote, local_continues};
use super::shared::DatabaseShared;
use super::status::DatabaseState;
use super::worker::PermittedSnapshot;
use crate::capture::Snapshot;
use crate::spool::Spool;
use crate::store::{Body, Replica, body_from_file};
use crate::{Error, ErrorKind, Result, clock};

/// How long to wait after a failed upload, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long a snapshot waits for the files before it; meanwhile it holds back checkpoints.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(30);
/// Pieces of a snapshot that wait for the store.
const SNAPSHOT_QUEUE: usize = 4;

/// A sealed file.
struct Local {
    name: FileName,
    file: std::fs::File,
    size: u64,
    created_ms: i64,
    page_size: PageSize,
}

/// Sends what capture seals.
pub(super) struct Uploads<'a> {
    pub(super) replica: &'a Replica,
    pub(super) ownership: &'a Ownership,
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
            match Remote::claim(self.replica, self.ownership).await {
                Ok(remote) => {
                    let (spool, seen) = (Arc::clone(&self.spool), remote.clone());
                    let in_step = blocking(move || local_continues(&spool, &seen)).await?;
                    let newest = self.shared.read(|marks| marks.spooled);
                    let lost = lost_head(remote.head, remote.last(), newest);
                    if !in_step || lost.is_some() {
                        return Err(Error::unavailable(format!(
                            "{} is not what the local files go on from; starting again from there",
                            self.replica
                        )));
                    }
                    self.ownership.reconciled(None).await;
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
            result = self.send_snapshots(snapshots) => result,
        }
    }

    pub(super) async fn send_files(&self) -> Result<()> {
        let mut spooled = self.shared.subscribe_spooled();
        let mut ended = self.ended.clone();
        let mut page_size = None;
        loop {
            let (durable, spooled_to) = self.shared.read(|marks| (marks.durable, marks.spooled));
            if durable < spooled_to {
                let next = durable.map_or(Some(Txid::FIRST), Txid::next);
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
    /// If the local file cannot be read or is damaged, or another writer was there first: no other
    /// try helps.
    async fn send_until_confirmed(&self, txid: Txid, before: &mut Option<PageSize>) -> Result<()> {
        let mut pause = RETRY_MIN;
        loop {
            let local = self.open_local(txid).await?;
            let (name, created_ms, page_size) = (local.name, local.created_ms, local.page_size);
            let known = match before.take() {
                Some(known) => Some(known),
                None => self.page_size_before(txid).await?,
            };
            *before = Some(page_size);
            if known.is_some_and(|known| known != page_size) {
                self.snapshot_first(txid).await?;
            }
            let started = Instant::now();
            match self.send(local).await {
                Ok(size) => {
                    tracing::debug!(%txid, bytes = size, "durable");
                    self.shared.added(ReplicaFile {
                        level: Level::L0,
                        name,
                        size,
                        created_ms,
                    });
                    self.shared.confirmed(txid, started.elapsed());
                    self.shared.set_state(DatabaseState::Replicating);
                    return Ok(());
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.failed(&format!("cannot send {txid}"), &error, &mut pause)
                        .await;
                }
            }
        }
    }

    /// Sends a file. Whoever slept meanwhile asks who owns the replica. Where the store cannot
    /// exclude that another writer comes in between, that is asked before and after each file.
    async fn send(&self, local: Local) -> Result<u64> {
        let is_exclusive = || self.replica.store().excludes_races(local.size);
        if is_exclusive() {
            self.ownership.check_if_old().await?;
        } else {
            self.ownership.check().await?;
        }
        let body = body_from_file(local.file);
        let put = self
            .replica
            .put(Level::L0, local.name, local.created_ms, body);
        let size = match put.await {
            Err(error) if error.kind() == ErrorKind::Conflict => self.confirm(local.name).await?,
            put => put?,
        };
        // What is known of the store may have changed with the first write.
        if !is_exclusive() {
            self.ownership.check().await?;
        }
        Ok(size)
    }

    /// Whether what is there under the name of a local file is that file: an earlier try may have
    /// succeeded, and only the answer was lost. Returns its size.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Fenced`] if the replica has another owner; [`ErrorKind::Conflict`] if it has
    /// not, so that the local files must be compared with the replica again.
    async fn confirm(&self, name: FileName) -> Result<u64> {
        if let Some(size) = self.is_sent(name).await? {
            return Ok(size);
        }
        self.ownership.check().await?;
        Err(Error::conflict(format!(
            "{} has another {name} than was sealed here; starting again from there",
            self.replica
        )))
    }

    /// The size of a local file, if the replica has the same bytes under its name.
    async fn is_sent(&self, name: FileName) -> Result<Option<u64>> {
        let Some(mut there) = self.replica.get(Level::L0, name).await? else {
            return Ok(None);
        };
        let spool = Arc::clone(&self.spool);
        let mut here = body_from_file(blocking(move || spool.open_file(name)).await?);
        let (mut size, mut left, mut right) = (0, Bytes::new(), Bytes::new());
        loop {
            if left.is_empty() {
                left = next_piece(&mut here).await?;
            }
            if right.is_empty() {
                right = next_piece(&mut there).await?;
            }
            let len = left.len().min(right.len());
            if left.split_to(len) != right.split_to(len) {
                return Ok(None);
            }
            match (len, left.is_empty() && right.is_empty()) {
                (0, true) => return Ok(Some(size)),
                (0, false) => return Ok(None),
                _ => size += len as u64,
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
            .demand(|marks| marks.page_size_changed = Some(txid));
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
    async fn open_local(&self, txid: Txid) -> Result<Local> {
        let name = FileName::new(TxidRange::single(txid));
        let is_old = Some(txid) <= self.sealed_before;
        let spool = Arc::clone(&self.spool);
        blocking(move || {
            let header = if is_old {
                spool.verify(name)?
            } else {
                spool.header(name)?
            };
            Ok(Local {
                name,
                file: spool.open_file(name)?,
                size: spool.size(name)?,
                created_ms: header.timestamp_ms,
                page_size: header.page_size,
            })
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
    async fn send_snapshots(&self, mut snapshots: mpsc::Receiver<PermittedSnapshot>) -> Result<()> {
        while let Some(PermittedSnapshot {
            snapshot,
            permit,
            give_up,
        }) = snapshots.recv().await
        {
            let txid = snapshot.txid;
            let sent = tokio::select! {
                sent = self.send_snapshot(snapshot) => sent,
                _ = give_up => Err(Error::unavailable(
                    "the store takes it too slowly, and meanwhile the log cannot be emptied",
                )),
            };
            match sent {
                Ok(file) => {
                    tracing::info!(%txid, bytes = file.size, "snapshot durable");
                    self.shared.added(file);
                }
                Err(error) if error.kind() == ErrorKind::Fenced => return Err(error),
                Err(error) => {
                    tracing::warn!(%txid, %error, "snapshot failed; it is tried again");
                    if error.kind() == ErrorKind::Conflict {
                        // It is there already, and was not listed.
                        self.shared.forget_catalogue();
                    }
                }
            }
            drop(permit);
            self.shared.update(|marks| marks.snapshot_running = false);
        }
        // The files decide when everything is sent.
        std::future::pending().await
    }

    /// Every file that ends with a transaction must hold one and the same state. Which one that is,
    /// whoever creates the file of that transaction in level 0 decides; the snapshot waits for it.
    async fn send_snapshot(&self, snapshot: Snapshot) -> Result<ReplicaFile> {
        // With another page size the snapshot is what goes first.
        if self.shared.read(|marks| marks.page_size_changed.is_some()) {
            self.ownership.check().await?;
            return put_snapshot(self.replica, snapshot).await;
        }
        let mut durable = self.shared.subscribe_durable();
        let reached = durable.wait_for(|durable| durable.txid >= Some(snapshot.txid));
        match tokio::time::timeout(SNAPSHOT_WAIT, reached).await {
            Err(_) => {
                return Err(Error::unavailable(format!(
                    "{} is not durable yet",
                    snapshot.txid
                )));
            }
            Ok(reached) => reached.map_err(|_| Error::internal("the database is gone"))?,
        };
        self.ownership.check_if_old().await?;
        put_snapshot(self.replica, snapshot).await
    }
}

/// The next bytes of a body; none at its end.
async fn next_piece(body: &mut Body) -> Result<Bytes> {
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|error| Error::unavailable("cannot compare a file").with_source(error))?;
        if !piece.is_empty() {
            return Ok(piece);
        }
    }
    Ok(Bytes::new())
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
