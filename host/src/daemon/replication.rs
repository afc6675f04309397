//! Replication as a daemon.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Daemon, DaemonResult};
use crate::Error;
use crate::builder::Builder;
use crate::engine::Lockkeeper;

/// Replication as a [`Daemon`]. When it reads its configuration again, it reads it from where the
/// builder has it.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> lockkeeper::DaemonResult {
/// use lockkeeper::{Daemon, Lockkeeper, Replication};
/// let builder = Lockkeeper::builder().config("dbs:\n  - path: a.db\n    replica: {path: b}\n");
/// let mut replication = Replication::new(builder);
/// replication.start().await?;
/// replication.stop(std::time::Duration::from_secs(15)).await
/// # }
/// ```
#[derive(Debug)]
pub struct Replication {
    builder: Builder,
    was_started: bool,
    running: watch::Sender<Option<Arc<Lockkeeper>>>,
}

/// The replication of a [`Replication`], for other parts of the application. Clones see the same.
#[derive(Clone, Debug)]
pub struct ReplicationHandle(watch::Receiver<Option<Arc<Lockkeeper>>>);

impl ReplicationHandle {
    /// The running replication; `None` before the start and after the stop.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Lockkeeper>> {
        self.0.borrow().clone()
    }
}

impl Replication {
    /// Replication that is to be started.
    #[must_use]
    pub fn new(builder: Builder) -> Self {
        Self {
            builder,
            was_started: false,
            running: watch::Sender::new(None),
        }
    }

    /// What other parts of the application ask.
    #[must_use]
    pub fn handle(&self) -> ReplicationHandle {
        ReplicationHandle(self.running.subscribe())
    }

    fn keeper(&self) -> Option<Arc<Lockkeeper>> {
        self.running.borrow().clone()
    }
}

#[async_trait]
impl Daemon for Replication {
    fn name(&self) -> &'static str {
        "replication"
    }

    async fn start(&mut self) -> DaemonResult {
        if self.was_started {
            return Err(Error::invalid("it was started before; make a new one").into());
        }
        self.was_started = true;
        let keeper = self.builder.clone().start().await?;
        self.running.send_replace(Some(Arc::new(keeper)));
        Ok(())
    }

    async fn reload(&mut self) -> DaemonResult {
        if let Some(keeper) = self.keeper() {
            let changed = keeper.reload(&self.builder).await;
            // A configuration that is not valid is no reason to keep an old policy.
            let swapped = match self.builder.has_stored_policies() {
                true => keeper.reload_policy().await.map(drop),
                false => Ok(()),
            };
            changed?;
            swapped?;
        }
        Ok(())
    }

    async fn stop(&mut self, deadline: Duration) -> DaemonResult {
        if let Some(keeper) = self.keeper() {
            let stopped = keeper.end(deadline).await;
            self.running.send_replace(None);
            stopped?;
        }
        self.was_started = true;
        Ok(())
    }
}
