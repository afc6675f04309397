//! What a policy would lead to: a database, its replica and a store in virtual time.
//!
//! The host's part is a model; the decisions are those of the policy, and they pass the real guard.
//! The same load, settings and policy give the same report, on any machine.
//!
//! The model: commits come as the [`load`] says and wait as the policy says. One file is uploaded
//! at a time, with a latency and a bandwidth. While the store does not answer, uploads are tried
//! again every half minute. Every minute snapshots and merges are decided about; every ten minutes
//! what is kept, and the replica is listed; every hour whether to prove the replica, and what a
//! restore would take. A merged file has seven tenths of the bytes of its inputs, and a snapshot
//! half of those of the database.

pub mod load;
pub mod recorded;
mod report;
mod upkeep;
mod world;

use crate::decision::{Facts, Proposal};
use crate::live_set::Window;

use self::load::{Commit, Outage};
pub use self::report::{Prices, Report, Requests};
use self::world::World;

/// Who proposes; `None` for no answer, and then the built-in rules decide.
pub type Policy<'a> = dyn FnMut(&Facts) -> Option<Proposal> + 'a;

/// What is configured, and what the store is like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// As in `litestream.yml`; all times in milliseconds.
    pub sync_interval_ms: u64,
    /// `min-checkpoint-page-count`; 0 if off.
    pub min_checkpoint_pages: u32,
    /// `truncate-page-n`; 0 if off.
    pub truncate_pages: u32,
    /// `checkpoint-interval`; 0 if off.
    pub checkpoint_interval_ms: u64,
    /// The intervals of levels 1 and up.
    pub levels_ms: Vec<u64>,
    /// `snapshot.interval`.
    pub snapshot_interval_ms: u64,
    /// `snapshot.retention` and `l0-retention`.
    pub window: Window,
    /// `validation.interval`; 0 if off.
    pub validation_interval_ms: u64,
    /// The size of the database at the start.
    pub database_bytes: u64,
    /// What one request takes.
    pub latency_ms: u64,
    /// Bytes that go over the line in a millisecond.
    pub bytes_per_ms: u64,
}

impl Default for Settings {
    /// The defaults of the configuration, a database of 100 MB, and a store at the other end of a
    /// line of 100 Mbit/s.
    fn default() -> Self {
        Self {
            sync_interval_ms: 1000,
            min_checkpoint_pages: 1000,
            truncate_pages: 121_359,
            checkpoint_interval_ms: 60_000,
            levels_ms: vec![30_000, 300_000, 3_600_000],
            snapshot_interval_ms: 24 * 3_600_000,
            window: Window::default(),
            validation_interval_ms: 0,
            database_bytes: 100_000_000,
            latency_ms: 60,
            bytes_per_ms: 12_500,
        }
    }
}

/// Drives a load from its first commit to its end, and reports what came of it.
///
/// # Example
///
/// ```
/// use lockkeeper_core::simulation::{Settings, load::Load, run};
/// let load = Load { seed: 7, days: 1 };
/// let (settings, outages) = (Settings::default(), load.outages());
/// let mut policy = |facts: &lockkeeper_core::decision::Facts| Some(facts.fallback());
/// let report = run(&settings, load.commits(), &outages, load.end_ms(), &mut policy);
/// assert_eq!(report.unrestorable, 0);
/// ```
#[must_use]
pub fn run(
    settings: &Settings,
    commits: impl Iterator<Item = Commit>,
    outages: &[Outage],
    end_ms: u64,
    policy: &mut Policy<'_>,
) -> Report {
    let mut commits = commits.peekable();
    let Some(first) = commits.peek().copied() else {
        return Report::default();
    };
    let mut world = World::new(settings, outages, first.at_ms, policy);
    for commit in commits {
        world.run_until(commit.at_ms);
        world.commit(commit);
    }
    world.run_until(end_ms);
    world.report()
}

#[cfg(test)]
mod tests;
