//! lockkeeper and servers of object stores: each keeps the contract of a store, and what goes
//! through it comes back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod doctor;
mod matrix;
mod official;
mod outages;
mod refusals;
mod requests;
mod support;
