//! The load, the outages and the settings that recorded decisions show.
//!
//! The facts of seals say since when commits waited, and how the log grew meanwhile; those of
//! merges name every file that was sealed, with its bytes. What was added to the log between two
//! questions is taken to be one commit: of commits that came together, only how much they wrote is
//! known. A file that nobody was asked about, because somebody waited for it, is one commit when it
//! was sealed. The store is taken to be away from the first question after a failed upload until
//! something is durable again.

use std::collections::BTreeMap;

use super::Settings;
use super::load::{Commit, Outage};
use crate::decision::Facts;
use crate::policy::SyncFacts;

/// What is sealed so soon after a file that was asked about was sealed with it: the rest of the
/// same commits, or the page that the host writes after a checkpoint, which is this small.
const SAME_TURN_MS: u64 = 20;
const OWN_BYTES_MAX: u64 = 8192;

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
    /// By the transaction that they were to become: what waited to be sealed.
    noticed: BTreeMap<u64, Vec<Commit>>,
    outages: Vec<Outage>,
    /// Since when uploads fail, and what was durable then.
    failing: Option<(u64, u64)>,
    end_ms: u64,
}

impl Recorded {
    /// Adds the facts of a decision.
    pub fn add(&mut self, facts: &Facts) {
        self.end_ms = self.end_ms.max(facts.now_ms());
        let settings = &mut self.settings;
        match facts {
            Facts::Sync(facts) => {
                settings.sync_interval_ms = facts.sync_interval_ms;
                self.notice(facts);
                self.is_durable(facts.now_ms, facts.durable, facts.consecutive_failures == 0);
            }
            Facts::Checkpoint(facts) => {
                settings.min_checkpoint_pages = facts.min_checkpoint_pages;
                settings.truncate_pages = facts.truncate_pages;
                settings.checkpoint_interval_ms = facts.checkpoint_interval_ms;
            }
            Facts::Snapshot(facts) => {
                settings.snapshot_interval_ms = facts.snapshot_interval_ms;
                settings.database_bytes = facts.database_bytes;
                self.is_durable(facts.now_ms, facts.durable, true);
            }
            Facts::Verification(facts) => {
                settings.validation_interval_ms = facts.validation_interval_ms;
                self.is_durable(facts.now_ms, facts.durable, true);
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
            Facts::Holds(_) | Facts::Restore(_) | Facts::Event(_) => {}
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
        // Of what was sealed last, no merge names the file.
        let mut bytes: BTreeMap<u64, u64> = self
            .noticed
            .iter()
            .map(|(txid, noticed)| (*txid, sum(noticed)))
            .collect();
        let mut commits = Vec::new();
        let mut group = None;
        for (&txid, &(at_ms, size)) in &self.sealed {
            if self.noticed.contains_key(&txid) {
                bytes.insert(txid, size);
                group = Some((txid, at_ms));
                continue;
            }
            let is_with = |(_, sealed_ms): &(u64, u64)| at_ms <= sealed_ms + SAME_TURN_MS;
            match group.filter(is_with) {
                Some(_) if size <= OWN_BYTES_MAX => {}
                Some((first, _)) => *bytes.entry(first).or_default() += size,
                None => commits.push(Commit { at_ms, bytes: size }),
            }
        }
        for (txid, noticed) in &self.noticed {
            let file = bytes.get(txid).copied().unwrap_or_default();
            commits.extend(shares(noticed, file));
        }
        commits.sort_by_key(|commit| commit.at_ms);
        commits
    }

    /// When the store took nothing, in order of time.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        let mut outages = self.outages.clone();
        outages.extend(self.failing.map(|(from_ms, _)| Outage {
            from_ms,
            to_ms: self.end_ms,
        }));
        outages.retain(|outage| outage.from_ms < outage.to_ms);
        outages
    }

    /// When the last decision was made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// What came since the last question about the same seal.
    fn notice(&mut self, facts: &SyncFacts) {
        let noticed = self.noticed.entry(facts.spooled.saturating_add(1));
        let noticed = noticed.or_default();
        let at_ms = if noticed.is_empty() {
            facts.now_ms.saturating_sub(facts.oldest_pending_age_ms)
        } else {
            facts.now_ms
        };
        let bytes = facts.pending_bytes.saturating_sub(sum(noticed));
        if noticed.is_empty() || bytes > 0 {
            noticed.push(Commit { at_ms, bytes });
        }
    }

    /// Uploads came so far; if `is_well`, the last of them did not fail as far as this says.
    fn is_durable(&mut self, now_ms: u64, durable: u64, is_well: bool) {
        match self.failing {
            None if !is_well => self.failing = Some((now_ms, durable)),
            Some((from_ms, before)) if durable > before => {
                self.outages.push(Outage {
                    from_ms,
                    to_ms: now_ms,
                });
                self.failing = (!is_well).then_some((now_ms, durable));
            }
            _ => {}
        }
    }
}

fn sum(commits: &[Commit]) -> u64 {
    let bytes = commits.iter().map(|commit| commit.bytes);
    bytes.fold(0, u64::saturating_add)
}

/// Each with its share of the bytes of the file: what it added to the log is more, for pages are
/// written again and again, and are compressed.
fn shares(noticed: &[Commit], file: u64) -> impl Iterator<Item = Commit> {
    let log = u128::from(sum(noticed).max(1));
    noticed.iter().map(move |commit| {
        let share = u128::from(file) * u128::from(commit.bytes) / log;
        Commit {
            at_ms: commit.at_ms,
            bytes: u64::try_from(share).unwrap_or(u64::MAX),
        }
    })
}
