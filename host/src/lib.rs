//! Continuous SQLite replication inside the application.

pub mod config;
mod error;
pub mod policy;
pub mod restore;
pub mod store;

pub use error::{Error, ErrorKind, Result};
