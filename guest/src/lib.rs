//! The default lockkeeper policy: reads a `litestream.yml` and makes the decisions.
//!
//! Everything here is a pure function over plain values, so `cargo test` runs it natively. For
//! `wasm32` a thin layer translates to and from the component's contract in `wit/policy.wit`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[cfg(target_arch = "wasm32")]
mod component;
mod database;
pub mod decide;
mod environment;
mod location;
pub mod plan;
mod replica;
mod report;
mod s3;
mod scalar;
pub mod schema;
mod tree;
pub mod validate;
mod walk;

#[cfg(test)]
mod tests;
