//! What the pages ask of the replication.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockkeeper::{DatabaseState, DatabaseStatus, ReplicationHandle, Status};
use serde::Serialize;
use tokio::time::timeout;

/// How long a request may wait for the replica. Ending waits for requests, so it is short.
const SYNC_MAX: Duration = Duration::from_secs(4);

/// The running replication, until it is stopped. Clones share it.
#[derive(Clone)]
pub(crate) struct Replication(ReplicationHandle);

/// The replication of one database, for monitoring.
#[derive(Debug, Serialize)]
pub(crate) struct Database {
    path: String,
    replica: String,
    state: &'static str,
    /// What keeps being tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The last transaction in a sealed local file.
    pub(crate) spooled: Option<u64>,
    /// The last transaction that the replica confirmed.
    pub(crate) durable: Option<u64>,
    snapshot: Option<u64>,
    write_lock_held_max_us: u64,
}

impl Replication {
    pub(crate) fn new(handle: ReplicationHandle) -> Self {
        Self(handle)
    }

    /// Everything; `None` before replication was started and after it was stopped.
    pub(crate) fn status(&self) -> Option<Status> {
        self.0.get().map(|keeper| keeper.status())
    }

    /// How far each database is; empty before replication was started and after it was stopped.
    pub(crate) fn databases(&self) -> Vec<Database> {
        let databases = self.status().map(|status| status.databases);
        let databases = databases.unwrap_or_default();
        databases.into_iter().map(Database::from).collect()
    }

    /// What keeps commits from being safe; empty if all is well.
    pub(crate) fn problems(&self) -> Vec<String> {
        match self.status() {
            Some(status) => status.problems(),
            None => vec!["replication was stopped".to_owned()],
        }
    }

    /// Returns when everything that is committed now is durable.
    ///
    /// # Errors
    ///
    /// If the replica does not confirm it in time.
    pub(crate) async fn sync(&self) -> Result<()> {
        let Some(keeper) = self.0.get() else {
            bail!("replication was stopped");
        };
        timeout(SYNC_MAX, keeper.sync())
            .await
            .context("the replica did not confirm in time")??;
        Ok(())
    }
}

impl Database {
    /// Whether commits reach the replica, as far as is known.
    pub(crate) fn is_replicating(&self) -> bool {
        self.error.is_none()
    }
}

impl From<DatabaseStatus> for Database {
    fn from(status: DatabaseStatus) -> Self {
        let (state, error) = match status.state {
            DatabaseState::Starting => ("starting", None),
            DatabaseState::Absent => ("absent", Some("there is no such file".to_owned())),
            DatabaseState::Replicating => ("replicating", None),
            DatabaseState::ReplicaFailing(error) => ("replica-failing", Some(error)),
            DatabaseState::Failing(error) => ("failing", Some(error)),
            DatabaseState::Fenced { owner, .. } => {
                let error = format!("another writer has the replica: {owner}");
                ("fenced", Some(error))
            }
            DatabaseState::Stopped => ("stopped", None),
            _ => ("unknown", None),
        };
        Self {
            path: status.path.display().to_string(),
            replica: status.replica,
            state,
            error,
            spooled: status.spooled.map(|txid| txid.get()),
            durable: status.durable.map(|txid| txid.get()),
            snapshot: status.snapshot.map(|txid| txid.get()),
            write_lock_held_max_us: status.write_lock_held_max.as_micros() as u64,
        }
    }
}
