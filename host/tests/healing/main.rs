//! Everything that can go wrong with a database, its local state or its replica, while replication
//! runs and while it does not: in the end the replica restores to the database, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod local;
mod remote;
mod verification;
mod world;
