//! Continuous SQLite replication inside the application.

#[cfg_attr(not(test), expect(dead_code, reason = "the engine that drives it comes next"))]
mod capture;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine that drives it comes next"))]
mod clock;
pub mod config;
mod error;
pub mod policy;
pub mod restore;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine that drives it comes next"))]
mod spool;
pub mod store;

pub use error::{Error, ErrorKind, Result};
