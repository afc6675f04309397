//! Databases from what Litestream 0.3 wrote: a copy of the database file, then the logs that
//! continue it. See [`lockkeeper_core::generations`] for the names.

mod content;
mod database;
mod list;
mod log;

pub(super) use database::build;
pub(super) use list::list;
