//! How a run begins: where the local files and the replica stand, and which goes on from which.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use lockkeeper_core::ownership::lost_head;
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
use tokio::sync::mpsc;

use super::database::{Database, blocking};
use super::ownership::Ownership;
use super::reconcile::{Remote, local_continues};
use super::status::DatabaseState;
use crate::spool::Spool;
use crate::store::Body;
use crate::{Error, Result};

/// How long the replica may take at the start to be claimed and listed.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);
/// Pieces of a file that wait to be written.
const FETCH_QUEUE: usize = 4;

impl Database {
    /// Becomes the owner of the replica and looks at what it holds.
    pub(super) async fn claim(&self, ownership: &Ownership) -> Result<Remote> {
        let claimed = Remote::claim(&self.replica, ownership);
        let claimed = tokio::time::timeout(CLAIM_TIMEOUT, claimed).await;
        claimed.map_err(|_| Error::unavailable(format!("{} does not answer", self.replica)))?
    }

    /// Without local files nothing says which transaction is next, so the replica must.
    pub(super) async fn unless_it_is_new(&self, spool: Spool, error: Error) -> Result<Spool> {
        let (spool, is_new) = blocking(move || {
            let is_new = spool.newest()?.is_none();
            Ok((spool, is_new))
        })
        .await?;
        if is_new {
            return Err(error);
        }
        tracing::warn!(
            database = %self.settings.path.display(), %error,
            "the replica cannot be reached; what is committed is kept here until it can"
        );
        self.shared
            .set_state(DatabaseState::ReplicaFailing(error.to_string()));
        Ok(spool)
    }

    /// Makes the local files go on where the replica ends. Returns the transaction that the next
    /// file follows, if the local files do not say it.
    pub(super) async fn reconcile(
        &self,
        spool: Spool,
        remote: &Remote,
        ownership: &Ownership,
    ) -> Result<(Spool, Option<Txid>)> {
        let seen = remote.clone();
        let (spool, lost, in_step) = blocking(move || {
            let in_step = local_continues(&spool, &seen)?;
            let newest = spool.newest()?.filter(|_| in_step);
            let local = newest.map(|file| file.name.range().max());
            let lost = lost_head(seen.head, seen.last(), local);
            let in_step = in_step && lost.is_none();
            if !in_step {
                spool.clear()?;
            }
            Ok((spool, lost, in_step))
        })
        .await?;
        self.shared.update(|marks| marks.head_missing = lost);
        ownership.reconciled(lost.map(|_| remote.last())).await;
        if let Some(head) = lost {
            let left = remote.last();
            tracing::error!(
                database = %self.settings.path.display(), replica = %self.replica, expected = %head,
                found = %left.map_or_else(|| "nothing".to_owned(), |txid| txid.to_string()),
                "transactions that were durable are missing in the replica; the next file holds \
                 every page"
            );
            return Ok((spool, left));
        }
        let (false, Some(last)) = (in_step, remote.last()) else {
            return Ok((spool, None));
        };
        tracing::warn!(
            database = %self.settings.path.display(), replica_at = %last,
            "the replica is not what the local state says; going on from the replica"
        );
        // With its newest file at hand the log may show that nothing was missed.
        let name = FileName::new(TxidRange::single(last));
        let Some(body) = self.replica.get(Level::L0, name).await? else {
            return Ok((spool, Some(last)));
        };
        let spool = fetch(spool, last, body).await?;
        Ok((spool, Some(last)))
    }
}

/// Writes a file of the replica into the spool.
async fn fetch(spool: Spool, txid: Txid, mut body: Body) -> Result<Spool> {
    let (pieces, mut received) = mpsc::channel::<Bytes>(FETCH_QUEUE);
    let writing = tokio::task::spawn_blocking(move || {
        let mut draft = spool.create(txid)?;
        while let Some(piece) = received.blocking_recv() {
            draft.write(&piece)?;
        }
        // Whatever came, it counts only if it reads as a whole file.
        draft.seal()?;
        spool.verify(FileName::new(TxidRange::single(txid)))?;
        Ok(spool)
    });
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            Error::unavailable("the newest file of the replica broke off").with_source(error)
        })?;
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    match writing.await {
        Ok(spool) => spool,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
