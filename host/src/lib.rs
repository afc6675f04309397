//! Continuous SQLite replication inside the application.

mod capture;
mod clock;
pub mod config;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "a validated configuration starts it, and validation comes next"
    )
)]
mod engine;
mod error;
pub mod policy;
pub mod restore;
mod settings;
mod spool;
pub mod store;

pub use engine::{DatabaseState, DatabaseStatus, Lockkeeper, Status};
pub use error::{Error, ErrorKind, Result};
