//! Sends sealed files to the replica, in order and without a gap.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::database::blocking;
use super::status::{DatabaseShared, DatabaseState};
use crate::capture::Snapshot;
use crate::spool::Spool;
use crate::store::{Body, Replica, body_from_file};
use crate::{Error, Result, clock};

/// How long to wait after a failed upload, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Pieces of a snapshot that wait for the store.
const SNAPSHOT_QUEUE: usize = 4;

/// Sends until capture has ended and everything it sealed is durable.
pub(super) async fn run(
    replica: &Replica,
    shared: Arc<DatabaseShared>,
    spool: Arc<Spool>,
    mut snapshots: mpsc::Receiver<Snapshot>,
) -> Result<()> {
    let mut spooled = shared.subscribe_spooled();
    let mut open = true;
    loop {
        let marks = shared.marks();
        if marks.durable < marks.spooled {
            let next = marks.durable.map_or(Some(Txid::FIRST), Txid::next);
            let Some(txid) = next else {
                return Err(Error::internal("transaction ids are used up"));
            };
            send_until_confirmed(replica, &shared, &spool, txid).await?;
            continue;
        }
        if !open {
            return Ok(());
        }
        tokio::select! {
            changed = spooled.changed() => {
                changed.map_err(|_| Error::internal("the watermarks are gone"))?;
            }
            request = snapshots.recv() => match request {
                Some(snapshot) => send_snapshot(replica, &shared, snapshot).await,
                None => open = false,
            },
        }
    }
}

/// One transaction; the next is not sent before the replica has this one.
async fn send_until_confirmed(
    replica: &Replica,
    shared: &DatabaseShared,
    spool: &Arc<Spool>,
    txid: Txid,
) -> Result<()> {
    let mut pause = RETRY_MIN;
    loop {
        let started = Instant::now();
        match send(replica, spool, txid).await {
            Ok(bytes) => {
                tracing::debug!(%txid, bytes, "durable");
                shared.confirmed(txid, started.elapsed());
                shared.set_state(DatabaseState::Replicating);
                return Ok(());
            }
            Err(error) => {
                shared.update(|marks| {
                    marks.consecutive_failures = marks.consecutive_failures.saturating_add(1);
                });
                tracing::warn!(%txid, %error, "upload failed; it is tried again");
                shared.set_state(DatabaseState::ReplicaFailing(error.to_string()));
                tokio::time::sleep(jitter(pause)).await;
                pause = pause.saturating_mul(2).min(RETRY_MAX);
            }
        }
    }
}

async fn send(replica: &Replica, spool: &Arc<Spool>, txid: Txid) -> Result<u64> {
    let name = FileName::new(TxidRange::single(txid));
    let spool = Arc::clone(spool);
    let (file, created_ms) = blocking(move || {
        let created_ms = spool.header(name)?.timestamp_ms;
        Ok((spool.open_file(name)?, created_ms))
    })
    .await?;
    replica
        .put(Level::L0, name, created_ms, body_from_file(file))
        .await
}

/// A snapshot that fails is not lost work to grieve for: the policy asks again.
async fn send_snapshot(replica: &Replica, shared: &DatabaseShared, snapshot: Snapshot) {
    let txid = snapshot.txid;
    match put_snapshot(replica, snapshot).await {
        Ok(file) => {
            tracing::info!(%txid, bytes = file.size, "snapshot durable");
            shared.update(|marks| marks.snapshots.get_or_insert_default().push(file));
        }
        Err(error) => tracing::warn!(%txid, %error, "snapshot failed; it is tried again"),
    }
    shared.update(|marks| marks.snapshot_running = false);
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
