//! The load and the settings that recorded decisions show.
//!
//! The facts of merges name every file that was sealed: what was in it and when. A commit is taken
//! to have come when its file was sealed, and all that is in one file to be one commit; so a policy
//! that seals later is shown as it is, and one that would have sealed sooner is not.

use std::collections::BTreeMap;

use super::Settings;
use super::load::Commit;
use crate::decision::Facts;

/// Collects what the facts of one database say.
///
/// # Example
///
/// ```
/// use lockkeeper_core::simulation::recorded::Recorded;
/// use lockkeeper_core::simulation::{Prices, Report};
/// use lockkeeper_core::vectors;
///
/// let mut recorded = Recorded::default();
/// for (_, facts) in vectors::all() {
///     recorded.add(&facts); // else from a trace
/// }
/// println!("{} commits until {}", recorded.commits().len(), recorded.end_ms());
/// println!("{} ms between syncs", recorded.settings().sync_interval_ms);
/// let nothing_yet = Report::default();
/// assert_eq!(nothing_yet.cost(&Prices::default()), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    settings: Settings,
    /// By transaction: when it was sealed, and its bytes.
    sealed: BTreeMap<u64, (u64, u64)>,
    end_ms: u64,
}

impl Recorded {
    /// Adds the facts of a decision.
    pub fn add(&mut self, facts: &Facts) {
        self.end_ms = self.end_ms.max(facts.now_ms());
        let settings = &mut self.settings;
        match facts {
            Facts::Sync(facts) => settings.sync_interval_ms = facts.sync_interval_ms,
            Facts::Checkpoint(facts) => {
                settings.min_checkpoint_pages = facts.min_checkpoint_pages;
                settings.truncate_pages = facts.truncate_pages;
                settings.checkpoint_interval_ms = facts.checkpoint_interval_ms;
            }
            Facts::Snapshot(facts) => {
                settings.snapshot_interval_ms = facts.snapshot_interval_ms;
                settings.database_bytes = facts.database_bytes;
            }
            Facts::Verification(facts) => {
                settings.validation_interval_ms = facts.validation_interval_ms;
            }
            Facts::Compaction(facts) => {
                let levels = facts.levels.iter();
                settings.levels_ms = levels.map(|level| level.interval_ms.get()).collect();
                let level_1 = facts.levels.first();
                for file in level_1.iter().flat_map(|level| &level.waiting.files) {
                    let sealed = (file.created_unix_ms(), file.size);
                    self.sealed.insert(file.range().max().get(), sealed);
                }
            }
            Facts::Retention(facts) => settings.window = facts.window,
            Facts::Holds(_) | Facts::Restore(_) => {}
        }
    }

    /// What was configured last.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The commits, in order of time.
    #[must_use]
    pub fn commits(&self) -> Vec<Commit> {
        let sealed = self.sealed.values();
        let mut commits: Vec<Commit> = sealed
            .map(|&(at_ms, bytes)| Commit { at_ms, bytes })
            .collect();
        commits.sort_by_key(|commit| commit.at_ms);
        commits
    }

    /// When the last decision was made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }
}
