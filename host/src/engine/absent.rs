//! A database that is not there: it was not made yet, or it was removed.

use std::sync::Arc;

use lockkeeper_ltx::Txid;
use tokio::sync::{mpsc, watch};

use super::database::{Command, Database, Prepared, Stop, blocking};
use super::ownership::Ownership;
use super::reconcile::local_continues;
use super::status::DatabaseState;
use super::upload::Uploads;
use crate::Result;
use crate::spool::Spool;

/// How the wait for a database ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Absence {
    /// There is a file.
    Over,
    /// There is none, replication is to stop, and everything was sent.
    Stopped,
}

impl Database {
    /// Waits until there is a file, or nothing is left to do before the end. Meanwhile what was
    /// captured of an earlier one is sent.
    pub(super) async fn while_absent(
        &self,
        prepared: &Prepared,
        commands: &mut mpsc::Receiver<Command>,
        stop: &mut Stop,
    ) -> Result<Absence> {
        if self.is_there().await {
            return Ok(Absence::Over);
        }
        tracing::warn!(
            database = %self.settings.path.display(),
            "there is no such database; it is waited for"
        );
        self.shared.set_state(DatabaseState::Absent);
        let sealed = self.send_the_rest(prepared);
        tokio::pin!(sealed);
        let mut is_sent = false;
        loop {
            if stop.is_asked() && is_sent {
                return Ok(Absence::Stopped);
            }
            tokio::select! {
                result = &mut sealed, if !is_sent => {
                    result?;
                    is_sent = true;
                }
                command = commands.recv(), if !stop.is_asked() => match command {
                    Some(Command::Sync(reply)) => {
                        if self.is_there().await {
                            return Ok(Absence::Over);
                        }
                        let _ = reply.send(Ok(self.shared.read(|marks| marks.spooled)));
                    }
                    Some(Command::Stop) | None => stop.ask(),
                },
                () = tokio::time::sleep(self.settings.monitor_interval), if !stop.is_asked() => {
                    if self.is_there().await {
                        return Ok(Absence::Over);
                    }
                }
            }
        }
    }

    async fn is_there(&self) -> bool {
        // Nothing can be said of a file that cannot be looked at: opening it will tell.
        tokio::fs::try_exists(&self.settings.path)
            .await
            .unwrap_or(true)
    }

    /// Whether there can be sealed files. If the whole directory of the database is gone with them,
    /// looking into the state directory would make both again.
    async fn has_state(&self) -> bool {
        let meta = self.settings.meta_path();
        let folder = meta.parent().unwrap_or(&meta);
        tokio::fs::try_exists(folder).await.unwrap_or(true)
    }

    /// Sends the sealed files of a database that is gone.
    async fn send_the_rest(&self, prepared: &Prepared) -> Result<()> {
        if !self.has_state().await {
            return Ok(());
        }
        let spool = self.open_spool(&prepared.lock).await?;
        let (spool, newest) = blocking(move || {
            let spool = Arc::new(spool);
            let newest = spool.newest()?.map(|file| file.name.range().max());
            Ok((spool, newest))
        })
        .await?;
        let Some(newest) = newest else {
            return Ok(());
        };
        self.shared.restart(Some(newest));
        let remote = self.claim(&prepared.ownership).await?;
        let (local, seen) = (Arc::clone(&spool), remote.clone());
        // If they do not go on from the replica, there is nothing that can be added to it.
        if !blocking(move || local_continues(&local, &seen)).await? {
            return Ok(());
        }
        let durable = remote.last_in_order();
        self.shared.reached(remote.files, durable);
        self.send_sealed(&prepared.ownership, spool, newest).await
    }

    async fn send_sealed(
        &self,
        ownership: &Ownership,
        spool: Arc<Spool>,
        newest: Txid,
    ) -> Result<()> {
        let (_ended, ended) = watch::channel(true);
        let uploads = Uploads {
            replica: &self.replica,
            ownership,
            shared: &self.shared,
            spool,
            sealed_before: Some(newest),
            retry_at_end: self.settings.shutdown_retry,
            ended,
        };
        uploads.send_files().await?;
        ownership.note_last().await?;
        self.shared.set_state(DatabaseState::Absent);
        Ok(())
    }
}
