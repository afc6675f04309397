//! Continuous SQLite replication inside the application.

mod error;
pub mod config;
pub mod policy;
pub mod restore;
pub mod store;

pub use error::{Error, ErrorKind, Result};
