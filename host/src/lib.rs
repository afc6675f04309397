//! Continuous SQLite replication inside the application.
//!
//! lockkeeper captures every committed transaction of an application's databases from their
//! write-ahead logs and keeps them in a replica that the official `litestream restore` restores.
//! What to do when is decided by a sandboxed component, see [`policy`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let app = rusqlite::Connection::open("app.db")?;
//! app.pragma_update(None, "journal_mode", "wal")?;
//!
//! let keeper = lockkeeper::Lockkeeper::builder()
//!     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
//!     .start()
//!     .await?;
//! app.execute_batch("CREATE TABLE guests (name); INSERT INTO guests VALUES ('Ada')")?;
//! keeper.sync().await?; // committed until here, so durable from here
//! keeper.stop(std::time::Duration::from_secs(15)).await?;
//! # assert!(std::path::Path::new("backup/ltx/0").is_dir());
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! The main types are [`Lockkeeper`], which runs, and its [`Builder`]; [`Configuration`], a valid
//! `litestream.yml`; [`config::ConfigStore`], which keeps it encrypted in the application's
//! database; [`store::Replica`] and [`restore`].
//!
//! A killed process loses nothing that was committed. A lost machine loses nothing that was
//! durable. Use one copy of SQLite in a process: two of them cannot see each other's locks.

mod builder;
mod capture;
mod clock;
pub mod config;
mod configuration;
pub mod control;
mod daemon;
mod engine;
mod error;
mod heartbeat;
mod https;
mod local;
mod lock;
pub mod logs;
mod paths;
pub mod policy;
pub mod restore;
mod secret;
mod settings;
mod spool;
pub mod store;

pub use builder::{Builder, PageEncoding};
pub use configuration::{Configuration, LogFormat, Logging};
pub use daemon::{
    Asked, Daemon, DaemonError, DaemonResult, Daemons, Replication, ReplicationHandle, Signals,
    StopOrder,
};
pub use engine::{
    Alert, ConfigurationStatus, ControlState, DatabaseState, DatabaseStatus, DirectoryStatus,
    HeartbeatState, HeldPoint, Lockkeeper, LogHeld, METRICS, Metric, MetricKind, Reloaded,
    RestorePoint, RestoreWindow, Status, Synced, Verified,
};
pub use error::{Error, ErrorKind, Result};
pub use local::{LocalDatabase, LocalStatus};
pub use lock::{StateLock, holder};
pub use lockkeeper_ltx::Txid;

/// The example of the README is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
