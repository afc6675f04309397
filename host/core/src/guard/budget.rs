//! What a policy may spend on requests.
//!
//! What the configuration asks for costs nothing here, however often that is. What a policy asks
//! for beyond it is paid from an allowance for each database, which fills evenly:
//!
//! | class | a day | at once | what is paid for |
//! |---|---|---|---|
//! | [`Class::Upload`] | 10,000 | 500 | a seal or a small checkpoint before its interval passed |
//! | [`Class::Snapshot`] | 24 | 4 | a snapshot that is not due |
//! | [`Class::Merge`] | 2,000 | 100 | a merge that is neither full nor that of its round |
//! | [`Class::Verification`] | 24 | 4 | a verification that is not due |
//!
//! So in no day are there more uploads than one for each sync interval and 10,500 others, and so
//! on. A file is deleted once, so that deletions are bounded by what is written; listings do not
//! depend on a policy.

use crate::compaction::MERGE_INPUTS_MAX;
use crate::fallback;
use crate::guard::merges::Merge;
use crate::levels::Round;
use crate::policy::{
    CheckpointFacts, CheckpointProposal, LevelFacts, SnapshotFacts, SyncFacts, VerificationFacts,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A kind of work that costs requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// A file of one transaction.
    Upload,
    /// A file with every page.
    Snapshot,
    /// Reading files of one level and writing one of the next.
    Merge,
    /// Reading whatever restores the database.
    Verification,
}

/// How much may be spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowance {
    /// What comes back in a day.
    pub per_day: u32,
    /// What can be saved up.
    pub at_once: u32,
}

impl Class {
    /// How much of it a policy may cause beyond what is configured.
    #[must_use]
    pub fn allowance(self) -> Allowance {
        let (per_day, at_once) = match self {
            // A commit that goes at once is worth an upload; one every ten seconds is in reason.
            Self::Upload => (10_000, 500),
            // Each sends the whole database.
            Self::Snapshot => (24, 4),
            Self::Merge => (2_000, 100),
            // Each reads the whole replica.
            Self::Verification => (24, 4),
        };
        Allowance { per_day, at_once }
    }
}

/// What is left for one database, at times of a clock that never goes back.
///
/// # Example
///
/// ```
/// use lockkeeper_core::guard::budget::{
///     Budget, Class, of_checkpoint, of_merge, of_snapshot, of_sync, of_verification,
/// };
/// use lockkeeper_core::policy::{
///     CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts, VerificationFacts,
/// };
///
/// let mut budget = Budget::default();
/// assert_eq!(budget.left(Class::Snapshot, 0), Class::Snapshot.allowance().at_once);
/// budget.spend(Class::Snapshot, 4, 0);
/// assert_eq!(budget.left(Class::Snapshot, 0), 0);
/// assert_eq!(budget.left(Class::Snapshot, 3_600_000), 1); // 24 come back in a day
///
/// // What is spent is said by the class of work, for example:
/// let facts = SyncFacts { sync_interval_ms: 1000, ..SyncFacts::default() };
/// println!("{} to seal now, {} in a second", of_sync(&facts, 0), of_sync(&facts, 1000));
/// let (checkpoint, passive) = (CheckpointFacts::default(), CheckpointProposal::Passive);
/// println!("{} to checkpoint", of_checkpoint(&checkpoint, passive));
/// println!("{} for a snapshot", of_snapshot(&SnapshotFacts::default()));
/// println!("{} for a proof", of_verification(&VerificationFacts::default()));
/// # let _ = of_merge;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// What was spent and has not come back, by class.
    spent: [Spent; 4],
}

/// In parts of a day's milliseconds, so that what comes back in each is a whole number.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    parts: u64,
    at_ms: u64,
}

impl Budget {
    /// How much of a class may be spent now.
    #[must_use]
    pub fn left(&self, class: Class, now_ms: u64) -> u32 {
        let spent = self.spent(class).after(class, now_ms);
        let spent = u32::try_from(spent.parts.div_ceil(DAY_MS)).unwrap_or(u32::MAX);
        class.allowance().at_once.saturating_sub(spent)
    }

    /// Spends.
    pub fn spend(&mut self, class: Class, count: u32, now_ms: u64) {
        let mut spent = self.spent(class).after(class, now_ms);
        spent.parts = spent
            .parts
            .saturating_add(u64::from(count).saturating_mul(DAY_MS));
        let [upload, snapshot, merge, verification] = &mut self.spent;
        *match class {
            Class::Upload => upload,
            Class::Snapshot => snapshot,
            Class::Merge => merge,
            Class::Verification => verification,
        } = spent;
    }

    fn spent(&self, class: Class) -> Spent {
        let [upload, snapshot, merge, verification] = self.spent;
        match class {
            Class::Upload => upload,
            Class::Snapshot => snapshot,
            Class::Merge => merge,
            Class::Verification => verification,
        }
    }
}

impl Spent {
    fn after(self, class: Class, now_ms: u64) -> Self {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let back = elapsed_ms.saturating_mul(u64::from(class.allowance().per_day));
        Self {
            parts: self.parts.saturating_sub(back),
            at_ms: self.at_ms.max(now_ms),
        }
    }
}

/// What it costs to seal after `wait_ms`: nothing unless it is now, and sooner than is configured.
#[must_use]
pub fn of_sync(facts: &SyncFacts, wait_ms: u64) -> u32 {
    let is_early = facts
        .since_last_sync_ms
        .is_some_and(|since_ms| since_ms < facts.sync_interval_ms);
    u32::from(wait_ms == 0 && is_early)
}

/// What a checkpoint costs: nothing if the log is as long, or the time as late, as is configured.
#[must_use]
pub fn of_checkpoint(facts: &CheckpointFacts, decision: CheckpointProposal) -> u32 {
    let reaches = |limit: u32| limit > 0 && facts.wal_pages >= limit;
    let is_due = facts.checkpoint_interval_ms > 0
        && facts.since_last_checkpoint_ms >= facts.checkpoint_interval_ms;
    let is_configured =
        is_due || reaches(facts.min_checkpoint_pages) || reaches(facts.truncate_pages);
    u32::from(decision != CheckpointProposal::None && !is_configured)
}

/// What a snapshot costs: nothing if it is due.
#[must_use]
pub fn of_snapshot(facts: &SnapshotFacts) -> u32 {
    u32::from(fallback::plan_snapshot(facts).is_none())
}

/// What a verification costs: nothing if it is due.
#[must_use]
pub fn of_verification(facts: &VerificationFacts) -> u32 {
    u32::from(fallback::plan_verification(facts).is_none())
}

/// What a merge costs: nothing if it reads as many files as it may, or if it takes the last of what
/// was sealed before the round of its level began. There is one such merge in a round.
#[must_use]
pub fn of_merge(facts: &LevelFacts, now_ms: u64, merge: &Merge) -> u32 {
    let round = Round::at(now_ms, facts.interval_ms);
    let files = facts.waiting.files.iter();
    let ready = files
        .take_while(|file| !round.contains(file.created_unix_ms()))
        .last();
    let ends_round = ready.is_some_and(|last| last.range().max() == merge.range().max());
    u32::from(!ends_round && merge.inputs().len() < MERGE_INPUTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_over_the_day_and_no_more_than_can_be_saved_up() {
        let mut budget = Budget::default();
        assert_eq!(budget.left(Class::Snapshot, 0), 4);
        budget.spend(Class::Snapshot, 3, 1000);
        assert_eq!(budget.left(Class::Snapshot, 1000), 1);
        assert_eq!(budget.left(Class::Upload, 1000), 500, "each for itself");
        let hour = DAY_MS / 24;
        assert_eq!(budget.left(Class::Snapshot, 1000 + hour - 1), 1);
        assert_eq!(budget.left(Class::Snapshot, 1000 + hour), 2);
        assert_eq!(budget.left(Class::Snapshot, 1000 + 9 * hour), 4);
        assert_eq!(budget.left(Class::Snapshot, u64::MAX), 4);
        budget.spend(Class::Snapshot, u32::MAX, u64::MAX);
        assert_eq!(budget.left(Class::Snapshot, u64::MAX), 0);
    }

    #[test]
    fn a_clock_that_goes_back_brings_nothing_back() {
        let mut budget = Budget::default();
        budget.spend(Class::Snapshot, 4, DAY_MS);
        for now_ms in [0, DAY_MS, 0, DAY_MS] {
            budget.spend(Class::Snapshot, 0, now_ms);
            assert_eq!(budget.left(Class::Snapshot, now_ms), 0);
        }
    }

    #[test]
    fn only_a_seal_that_comes_early_costs_an_upload() {
        let facts = |since_last_sync_ms| SyncFacts {
            since_last_sync_ms,
            sync_interval_ms: 1000,
            ..SyncFacts::default()
        };
        assert_eq!(of_sync(&facts(None), 0), 0);
        assert_eq!(of_sync(&facts(Some(1000)), 0), 0);
        assert_eq!(of_sync(&facts(Some(999)), 0), 1);
        assert_eq!(of_sync(&facts(Some(999)), 1), 0, "it is asked again then");
    }

    #[test]
    fn only_a_checkpoint_without_a_configured_reason_costs_an_upload() {
        use CheckpointProposal::{None as Leave, Passive};
        let facts = CheckpointFacts {
            wal_pages: 9,
            since_last_checkpoint_ms: 5000,
            min_checkpoint_pages: 10,
            truncate_pages: 100,
            checkpoint_interval_ms: 6000,
            ..CheckpointFacts::default()
        };
        assert_eq!(of_checkpoint(&facts, Passive), 1);
        assert_eq!(of_checkpoint(&facts, Leave), 0);
        let large = CheckpointFacts {
            wal_pages: 10,
            ..facts
        };
        assert_eq!(of_checkpoint(&large, Passive), 0);
        let due = CheckpointFacts {
            since_last_checkpoint_ms: 6000,
            ..facts
        };
        assert_eq!(of_checkpoint(&due, Passive), 0);
    }
}
