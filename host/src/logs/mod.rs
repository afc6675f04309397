//! Two logs that are kept apart.
//!
//! What an application is told by this library, it is told through its own [`tracing`] subscriber:
//! what the configuration says, what starts and what ends. A [`LogDatabase`] is a part of such a
//! subscriber that keeps it all in a SQLite file.
//!
//! What replication does inside is a matter of its own: it goes to standard output, or where
//! `logging:` in `litestream.yml` sends it, and never through a global logger. Each
//! [`Lockkeeper`](crate::Lockkeeper) has its own, see
//! [`Builder::log_to`](crate::Builder::log_to).

mod database;
mod file;
mod layer;
mod record;
mod replication;
mod settings;

pub use database::LogDatabase;
pub(crate) use replication::{Follow, ReplicationLog};
pub use settings::LogSettings;

#[cfg(test)]
mod tests;
