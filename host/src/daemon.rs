//! Parts of an application that start and stop with it.

use std::time::Duration;

use async_trait::async_trait;

use crate::builder::Builder;
use crate::engine::Lockkeeper;
use crate::{Error, Result};

/// A part of an application that runs beside it.
#[async_trait]
pub trait Daemon: Send {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// Starts it; returns when it runs.
    async fn start(&mut self) -> Result<()>;

    /// Ends it in an orderly way, within `deadline`. Returns at once if it never started.
    async fn stop(&mut self, deadline: Duration) -> Result<()>;
}

/// Replication as a [`Daemon`].
///
/// # Example
///
/// ```no_run
/// # async fn example() -> lockkeeper::Result<()> {
/// use lockkeeper::{Daemon, Lockkeeper, Replication};
/// let builder = Lockkeeper::builder().config("dbs:\n  - path: a.db\n    replica: {path: b}\n");
/// let mut replication = Replication::new(builder);
/// replication.start().await?;
/// replication.stop(std::time::Duration::from_secs(15)).await
/// # }
/// ```
#[derive(Debug)]
pub struct Replication {
    state: State,
}

#[derive(Debug)]
enum State {
    New(Box<Builder>),
    Running(Lockkeeper),
    Ended,
}

impl Replication {
    /// Replication that is to be started.
    #[must_use]
    pub fn new(builder: Builder) -> Self {
        Self {
            state: State::New(Box::new(builder)),
        }
    }

    /// The running replication; `None` before the start and after the stop.
    #[must_use]
    pub fn running(&self) -> Option<&Lockkeeper> {
        match &self.state {
            State::Running(keeper) => Some(keeper),
            _ => None,
        }
    }
}

#[async_trait]
impl Daemon for Replication {
    fn name(&self) -> &'static str {
        "lockkeeper"
    }

    async fn start(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::New(builder) => {
                self.state = State::Running(builder.start().await?);
                Ok(())
            }
            other => {
                self.state = other;
                Err(Error::invalid(
                    "replication was started before; make a new one",
                ))
            }
        }
    }

    async fn stop(&mut self, deadline: Duration) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(keeper) => keeper.stop(deadline).await,
            State::New(_) | State::Ended => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_what_never_started_returns_at_once() {
        let mut replication = Replication::new(Lockkeeper::builder());
        replication.stop(Duration::MAX).await.unwrap();
        assert!(replication.start().await.is_err());
        assert!(replication.running().is_none());
    }
}
