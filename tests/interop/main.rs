//! lockkeeper and the official Litestream: each restores what the other wrote, and goes on where
//! the other left off. Databases are compared byte for byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod control;
mod official_restores;
mod subject;
mod takeover;
mod we_restore;
