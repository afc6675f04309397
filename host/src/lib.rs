//! Continuous SQLite replication inside the application.

mod capture;
mod clock;
pub mod config;
mod error;
pub mod policy;
pub mod restore;
mod spool;
pub mod store;

pub use error::{Error, ErrorKind, Result};
