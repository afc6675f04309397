//! Decisions the host does not delegate.
//!
//! A policy component proposes; what this crate computes decides. It plans restores, keeps the
//! watermarks in order and holds every proposal against what the configuration promises. Pure: no
//! clock, no file, no network.
#![forbid(unsafe_code)]

pub mod compact;
pub mod compaction;
pub mod decision;
pub mod fallback;
pub mod follow;
pub mod generations;
pub mod guard;
pub mod inventory;
pub mod levels;
pub mod live_set;
pub mod losses;
pub mod ownership;
pub mod policy;
pub mod restore;
pub mod retention;
pub mod s3;
pub mod simulation;
pub mod text;
pub mod vectors;
pub mod waiting;
pub mod watermarks;
