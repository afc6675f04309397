//! Parts of an application that start and stop with it.
//!
//! [`Daemons`] starts them one after the other and, when a signal asks for it, stops them: first
//! what brings work, then everything else at the same time, the log last. [`Replication`] is the
//! one that replicates.

mod group;
mod guarded;
mod replication;
mod run;
mod service_manager;
mod signals;

use std::time::Duration;

use async_trait::async_trait;

pub use self::group::Daemons;
pub use self::replication::{Replication, ReplicationHandle};
pub use self::signals::{Asked, Signals};

/// Any failure of a part of an application.
pub type DaemonError = Box<dyn std::error::Error + Send + Sync>;

/// How something that a part of an application was asked for ended.
pub type DaemonResult = std::result::Result<(), DaemonError>;

/// When a daemon is stopped, compared with the others.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum StopOrder {
    /// Before the others: it brings work, such as a web server. What it commits while it ends is
    /// then still replicated. It gets a third of the time at most.
    First,
    /// At the same time as all others of this order.
    #[default]
    Together,
    /// After the others, whose last words it writes.
    Last,
}

/// A part of an application that runs beside it.
#[async_trait]
pub trait Daemon: Send {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// When it is stopped.
    fn stop_order(&self) -> StopOrder {
        StopOrder::Together
    }

    /// Starts it; returns when it runs. If this fails, nothing of it is left.
    ///
    /// # Cancel safety
    ///
    /// If a signal comes meanwhile the future is dropped, and [`Daemon::stop`] is called.
    async fn start(&mut self) -> DaemonResult;

    /// Reads its configuration again. If this fails it goes on with the one it has.
    async fn reload(&mut self) -> DaemonResult {
        Ok(())
    }

    /// Returns if it ends by itself, which ends all others too. Most never do.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped and made again at any time; the end must not be missed for that.
    async fn ended(&mut self) -> DaemonError {
        std::future::pending().await
    }

    /// Ends it in an orderly way, within `deadline`. Returns at once if it never started.
    async fn stop(&mut self, deadline: Duration) -> DaemonResult;
}

#[cfg(test)]
mod tests;
