//! How a run begins: where the local files and the replica stand, and which goes on from which.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
use tokio::sync::mpsc;

use super::database::{Database, blocking};
use super::reconcile::{Remote, local_continues};
use super::status::DatabaseState;
use crate::spool::Spool;
use crate::store::Body;
use crate::{Error, Result};

/// How long the replica may take to be listed at the start.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pieces of a file that wait to be written.
const FETCH_QUEUE: usize = 4;

impl Database {
    pub(super) async fn list(&self) -> Result<Remote> {
        let listing = tokio::time::timeout(LIST_TIMEOUT, self.replica.list_all());
        let files = listing
            .await
            .map_err(|_| Error::unavailable(format!("{} does not answer", self.replica)))??;
        Ok(Remote { files })
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
    ) -> Result<(Spool, Option<Txid>)> {
        let local = remote.clone();
        let (spool, in_step) = blocking(move || {
            let in_step = local_continues(&spool, &local)?;
            if !in_step {
                spool.clear()?;
            }
            Ok((spool, in_step))
        })
        .await?;
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
