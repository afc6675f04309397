//! Bounds for sync, checkpoint, snapshot and verification proposals.
//!
//! The built-in decisions of [`fallback`] pass unchanged.

use std::fmt;

use lockkeeper_ltx::Txid;

use super::budget;
use crate::fallback;
use crate::policy::{
    CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts, SyncProposal, VerificationFacts,
};
use crate::text::printable;

/// Times the smaller page threshold of the configuration at which the log is copied back although
/// the policy would let it grow: room for a policy that waits for a quiet hour, not for a full
/// disk.
pub const LOG_GROWTH_MAX: u32 = 4;
/// How often a policy is asked in a sync interval about commits that wait, at most.
pub const QUESTIONS_PER_INTERVAL_MAX: u64 = 20;
/// Least time between checkpoints below every page threshold, each of which costs an upload.
pub const CHECKPOINT_PAUSE_MIN_MS: u64 = 1000;
/// Least time between snapshots that the configuration does not ask for: each sends every page.
pub const SNAPSHOT_PAUSE_MIN_MS: u64 = 60_000;
/// Least time between verifications that the configuration does not ask for: each reads the whole
/// replica.
pub const VERIFICATION_PAUSE_MIN_MS: u64 = 15 * 60_000;
/// Configured intervals after which a verification is made although the policy wants none: room to
/// wait for a quiet hour.
pub const VERIFICATION_INTERVALS_MAX: u64 = 2;
/// Longest reason of a snapshot or verification, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Why a proposal was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Clamp {
    /// A commit would have waited longer than the sync interval.
    SyncTooLate,
    /// The policy wants to be asked again too soon, see [`QUESTIONS_PER_INTERVAL_MAX`].
    WaitTooShort,
    /// A snapshot reads the database.
    SnapshotRunning,
    /// The log is smaller than the configured size for truncation.
    TruncateTooSoon,
    /// Too little was written, or too short a time has passed.
    CheckpointTooSoon,
    /// The log has grown past [`LOG_GROWTH_MAX`] times its threshold.
    LogTooLong,
    /// The replica has no snapshot.
    SnapshotMissing,
    /// The newest snapshot holds every durable transaction, or the last verification proved it.
    NothingNew,
    /// The newest snapshot is younger than [`SNAPSHOT_PAUSE_MIN_MS`].
    SnapshotTooSoon,
    /// The last verification is younger than [`VERIFICATION_PAUSE_MIN_MS`].
    VerificationTooSoon,
    /// Nothing was verified for [`VERIFICATION_INTERVALS_MAX`] configured intervals.
    VerificationOverdue,
    /// The [budget] is used up.
    OverBudget,
    /// The writer that a policy protects was not heard of for long.
    OtherWriterGone,
}

impl Clamp {
    /// Stable, kebab-case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SyncTooLate => "sync-too-late",
            Self::WaitTooShort => "wait-too-short",
            Self::SnapshotRunning => "snapshot-running",
            Self::TruncateTooSoon => "truncate-too-soon",
            Self::CheckpointTooSoon => "checkpoint-too-soon",
            Self::LogTooLong => "log-too-long",
            Self::SnapshotMissing => "snapshot-missing",
            Self::NothingNew => "nothing-new",
            Self::SnapshotTooSoon => "snapshot-too-soon",
            Self::VerificationTooSoon => "verification-too-soon",
            Self::VerificationOverdue => "verification-overdue",
            Self::OverBudget => "over-budget",
            Self::OtherWriterGone => "other-writer-gone",
        }
    }
}

impl fmt::Display for Clamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What will be done, and why it is not what was proposed, if it is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Guarded<T> {
    /// What will be done.
    pub decision: T,
    /// Why it differs from the proposal.
    pub clamp: Option<Clamp>,
}

impl<T> Guarded<T> {
    pub(super) fn kept(decision: T) -> Self {
        Self {
            decision,
            clamp: None,
        }
    }

    pub(super) fn changed(decision: T, clamp: Clamp) -> Self {
        Self {
            decision,
            clamp: Some(clamp),
        }
    }
}

/// No commit waits longer than the sync interval, however often the policy is asked meanwhile, and
/// that is not too often; without a budget none goes before the interval has passed since the last
/// seal.
///
/// # Example
///
/// ```
/// use lockkeeper_core::guard::proposals::{checkpoint, snapshot, sync, verification};
/// use lockkeeper_core::policy::{
///     CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts, SyncProposal,
///     VerificationFacts,
/// };
///
/// let facts = SyncFacts { sync_interval_ms: 1000, ..SyncFacts::default() };
/// let guarded = sync(&facts, SyncProposal { wait_ms: 3_600_000 });
/// assert_eq!(guarded.clamp.map(|clamp| clamp.code()), Some("sync-too-late"));
///
/// let facts = CheckpointFacts { snapshot_running: true, ..CheckpointFacts::default() };
/// let guarded = checkpoint(&facts, CheckpointProposal::Passive);
/// assert_eq!(guarded.decision, CheckpointProposal::None);
///
/// assert_eq!(snapshot(&SnapshotFacts::default(), Some("I like to")).decision, None);
/// assert_eq!(verification(&VerificationFacts::default(), Some("why not")).decision, None);
/// ```
#[must_use]
pub fn sync(facts: &SyncFacts, proposal: SyncProposal) -> Guarded<SyncProposal> {
    let left = |since_ms: u64| facts.sync_interval_ms.saturating_sub(since_ms);
    let wait_ms_max = left(facts.oldest_pending_age_ms);
    if proposal.wait_ms > wait_ms_max {
        let decision = SyncProposal {
            wait_ms: wait_ms_max,
        };
        return Guarded::changed(decision, Clamp::SyncTooLate);
    }
    let pace_ms = facts.since_last_sync_ms.map_or(0, left).min(wait_ms_max);
    if facts.budget_left == 0 && proposal.wait_ms < pace_ms {
        return Guarded::changed(SyncProposal { wait_ms: pace_ms }, Clamp::OverBudget);
    }
    let step_ms = facts.sync_interval_ms / QUESTIONS_PER_INTERVAL_MAX;
    let wait_ms_min = step_ms.min(wait_ms_max);
    if (1..wait_ms_min).contains(&proposal.wait_ms) && proposal.wait_ms != pace_ms {
        let decision = SyncProposal {
            wait_ms: wait_ms_min,
        };
        return Guarded::changed(decision, Clamp::WaitTooShort);
    }
    Guarded::kept(proposal)
}

/// Checkpoints neither wait for a snapshot nor come for nothing, and the log stays bounded.
#[must_use]
pub fn checkpoint(
    facts: &CheckpointFacts,
    proposal: CheckpointProposal,
) -> Guarded<CheckpointProposal> {
    let reaches = |limit: u32| limit > 0 && facts.wal_pages >= limit;
    let is_large = reaches(facts.min_checkpoint_pages) || reaches(facts.truncate_pages);
    let is_due = facts.written_since_last_checkpoint
        && facts.since_last_checkpoint_ms >= checkpoint_pause_ms(facts);
    let (decision, clamp) = match proposal {
        CheckpointProposal::None if facts.snapshot_running => return Guarded::kept(proposal),
        CheckpointProposal::None if log_is_too_long(facts) => {
            (CheckpointProposal::Passive, Clamp::LogTooLong)
        }
        CheckpointProposal::None => return Guarded::kept(proposal),
        _ if facts.snapshot_running => (CheckpointProposal::None, Clamp::SnapshotRunning),
        _ if !is_large && !is_due => (CheckpointProposal::None, Clamp::CheckpointTooSoon),
        _ if budget::of_checkpoint(facts, proposal) > facts.budget_left => {
            (CheckpointProposal::None, Clamp::OverBudget)
        }
        CheckpointProposal::Truncate if !reaches(facts.truncate_pages) => {
            (CheckpointProposal::Passive, Clamp::TruncateTooSoon)
        }
        CheckpointProposal::Passive | CheckpointProposal::Truncate => {
            return Guarded::kept(proposal);
        }
    };
    Guarded::changed(decision, clamp)
}

/// A configured interval may be shorter than the least pause: it was asked for.
fn checkpoint_pause_ms(facts: &CheckpointFacts) -> u64 {
    match facts.checkpoint_interval_ms {
        0 => CHECKPOINT_PAUSE_MIN_MS,
        interval => interval.min(CHECKPOINT_PAUSE_MIN_MS),
    }
}

/// Never, if the configuration turned both thresholds off.
fn log_is_too_long(facts: &CheckpointFacts) -> bool {
    [facts.min_checkpoint_pages, facts.truncate_pages]
        .into_iter()
        .filter(|pages| *pages > 0)
        .min()
        .is_some_and(|pages| facts.wal_pages >= pages.saturating_mul(LOG_GROWTH_MAX))
}

/// A replica gets its first snapshot in any case, and further ones only for something new and not
/// in a row. The reason is made fit for a log line.
#[must_use]
pub fn snapshot(facts: &SnapshotFacts, proposal: Option<&str>) -> Guarded<Option<String>> {
    let newest = facts
        .snapshots
        .iter()
        .max_by_key(|file| file.name.range().max());
    let due = fallback::plan_snapshot(facts);
    let Some(reason) = proposal else {
        return match due {
            Some(due) if newest.is_none() => {
                Guarded::changed(Some(due.to_owned()), Clamp::SnapshotMissing)
            }
            _ => Guarded::kept(None),
        };
    };
    let held = newest.map(|file| file.name.range().max());
    if Txid::new(facts.durable) <= held {
        return Guarded::changed(None, Clamp::NothingNew);
    }
    let is_young = newest.is_some_and(|file| {
        let created_ms = u64::try_from(file.created_ms).unwrap_or(0);
        facts.now_ms.saturating_sub(created_ms) < SNAPSHOT_PAUSE_MIN_MS
    });
    if is_young && due.is_none() {
        return Guarded::changed(None, Clamp::SnapshotTooSoon);
    }
    if budget::of_snapshot(facts) > facts.budget_left {
        return Guarded::changed(None, Clamp::OverBudget);
    }
    Guarded::kept(Some(printable(reason, REASON_CHARS_MAX)))
}

/// A replica is proven about as often as the configuration asks for, and never in a row. The reason
/// is made fit for a log line.
#[must_use]
pub fn verification(facts: &VerificationFacts, proposal: Option<&str>) -> Guarded<Option<String>> {
    let is_new = facts.durable > facts.verified;
    let (since_ms, interval_ms) = (
        facts.since_last_verification_ms,
        facts.validation_interval_ms,
    );
    let Some(reason) = proposal else {
        let due = fallback::plan_verification(facts);
        let overdue_ms = interval_ms.saturating_mul(VERIFICATION_INTERVALS_MAX);
        return match due.filter(|_| since_ms >= overdue_ms) {
            Some(due) => Guarded::changed(Some(due.to_owned()), Clamp::VerificationOverdue),
            None => Guarded::kept(None),
        };
    };
    if !is_new {
        return Guarded::changed(None, Clamp::NothingNew);
    }
    let pause_ms = match interval_ms {
        0 => VERIFICATION_PAUSE_MIN_MS,
        interval => interval.min(VERIFICATION_PAUSE_MIN_MS),
    };
    if since_ms < pause_ms {
        return Guarded::changed(None, Clamp::VerificationTooSoon);
    }
    if budget::of_verification(facts) > facts.budget_left {
        return Guarded::changed(None, Clamp::OverBudget);
    }
    Guarded::kept(Some(printable(reason, REASON_CHARS_MAX)))
}

#[cfg(test)]
mod tests;
