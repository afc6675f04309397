//! Turns what a policy proposes into work that can do no harm.
//!
//! Whatever is proposed, by a component or by the built-in rules, goes through here: merges may only
//! take what waits, in order; deletions may only take what no promise needs. What is refused is
//! counted by its reason, so that a bad policy shows.

mod deletions;
mod merges;

pub use deletions::{CLOCK_BEHIND_MAX_MS, DELETIONS_MAX, Deletions, Pause, Review, Situation};
pub use merges::{MERGES_MAX, Merge, MergeRefusal, Merges, accept_merges};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod life;
