//! What every proposal of a policy is held against before it becomes work.
//!
//! Whoever proposes, a component or the built-in rules, goes through here: merges take what waits,
//! in order; deletions take what no promise needs; requests stay within a budget. What is changed
//! or refused has a reason with a stable code, so that a bad policy shows.

pub mod alerts;
pub mod approval;
pub mod budget;
pub mod deletions;
pub mod holds;
pub mod merges;
pub mod proposals;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod life;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod spending;
