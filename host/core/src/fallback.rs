//! What the host decides where no component answers: the rules of Litestream's defaults.

use std::num::NonZeroU64;

use lockkeeper_ltx::Txid;

use crate::levels::Round;
use crate::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Keep,
    RetentionFacts, Severity, SnapshotFacts, SyncFacts, SyncProposal, VerificationFacts,
};
use crate::{compaction, retention};

/// A commit after a quiet period goes at once; while commits keep coming they are sent together,
/// once per sync interval.
///
/// # Example
///
/// ```
/// use lockkeeper_core::{fallback, policy::SyncFacts};
/// let quiet = SyncFacts {
///     sync_interval_ms: 1000,
///     since_last_sync_ms: Some(1500),
///     ..SyncFacts::default()
/// };
/// assert_eq!(fallback::plan_sync(&quiet).wait_ms, 0);
/// let busy = SyncFacts { since_last_sync_ms: Some(300), ..quiet };
/// assert_eq!(fallback::plan_sync(&busy).wait_ms, 700);
/// ```
#[must_use]
pub fn plan_sync(facts: &SyncFacts) -> SyncProposal {
    let wait_ms = match facts.since_last_sync_ms {
        Some(since) => facts.sync_interval_ms.saturating_sub(since),
        None => 0,
    };
    SyncProposal { wait_ms }
}

/// By size first, then by time; never while a snapshot reads.
///
/// # Example
///
/// ```
/// use lockkeeper_core::fallback::{plan_checkpoint, plan_snapshot, plan_verification};
/// use lockkeeper_core::policy::{
///     CheckpointFacts, CheckpointProposal, SnapshotFacts, VerificationFacts,
/// };
///
/// let facts = CheckpointFacts {
///     wal_pages: 1000,
///     min_checkpoint_pages: 1000,
///     ..CheckpointFacts::default()
/// };
/// assert_eq!(plan_checkpoint(&facts), CheckpointProposal::Passive);
/// let facts = SnapshotFacts { durable: 1, ..SnapshotFacts::default() };
/// assert_eq!(plan_snapshot(&facts), Some("the replica has no snapshot"));
/// assert_eq!(plan_verification(&VerificationFacts::default()), None);
/// ```
#[must_use]
pub fn plan_checkpoint(facts: &CheckpointFacts) -> CheckpointProposal {
    let reaches = |limit: u32| limit > 0 && facts.wal_pages >= limit;
    let due = facts.checkpoint_interval_ms > 0
        && facts.since_last_checkpoint_ms >= facts.checkpoint_interval_ms
        && facts.written_since_last_checkpoint;
    if facts.snapshot_running {
        CheckpointProposal::None
    } else if reaches(facts.truncate_pages) {
        CheckpointProposal::Truncate
    } else if reaches(facts.min_checkpoint_pages) || due {
        CheckpointProposal::Passive
    } else {
        CheckpointProposal::None
    }
}

/// One snapshot at the start of a replica, then one after each multiple of the interval on the
/// wall clock, if anything was written since the last.
#[must_use]
pub fn plan_snapshot(facts: &SnapshotFacts) -> Option<&'static str> {
    if facts.durable == 0 {
        return None;
    }
    let Some(newest) = facts
        .snapshots
        .iter()
        .max_by_key(|file| file.name.range().max())
    else {
        return Some("the replica has no snapshot");
    };
    let round = Round::at(facts.now_ms, NonZeroU64::new(facts.snapshot_interval_ms)?);
    let is_older = newest.created_unix_ms() < round.start_ms();
    let is_behind = Txid::new(facts.durable).is_some_and(|txid| newest.name.range().max() < txid);
    (is_older && is_behind).then_some("the snapshot interval has passed")
}

/// At the configured interval, if something new is durable.
#[must_use]
pub fn plan_verification(facts: &VerificationFacts) -> Option<&'static str> {
    let is_due = facts.validation_interval_ms > 0
        && facts.since_last_verification_ms >= facts.validation_interval_ms;
    (is_due && facts.durable > facts.verified).then_some("the validation interval has passed")
}

/// Litestream's schedule, see [`compaction`].
///
/// # Example
///
/// ```
/// use lockkeeper_core::fallback::{plan_compaction, plan_retention};
/// use lockkeeper_core::policy::{CompactionFacts, RetentionFacts};
///
/// assert_eq!(plan_compaction(&CompactionFacts::default()), []);
/// assert_eq!(plan_retention(&RetentionFacts::default()), []);
/// ```
#[must_use]
pub fn plan_compaction(facts: &CompactionFacts) -> Vec<CompactionProposal> {
    compaction::plan(facts)
}

/// Litestream's rules, see [`retention`].
#[must_use]
pub fn plan_retention(facts: &RetentionFacts) -> Vec<Keep> {
    retention::plan(facts)
}

/// How long the alert of a repeated event is swallowed.
const ALERT_PAUSE_MS: u64 = 60 * 60 * 1000;

/// One alert for whatever begins, at most once an hour for the same thing, and one when it ends.
///
/// # Example
///
/// ```
/// use lockkeeper_core::fallback::on_event;
/// use lockkeeper_core::guard::alerts::AlertDesk;
/// use lockkeeper_core::policy::{Event, Severity};
///
/// let mut desk = AlertDesk::default();
/// let event = desk.note(Event {
///     now_ms: 0,
///     database: "app.db".into(),
///     code: "replica-failing".into(),
///     begins: true,
///     severity: Severity::Error,
///     message: "no answer".into(),
///     count: 0,
///     previous_ms: None,
/// });
/// let admitted = desk.admit(&event, on_event(&event));
/// assert_eq!(admitted.raised[0].code, "replica-failing");
/// assert_eq!(desk.admit(&event, on_event(&event)).raised, []); // once an hour is enough
/// assert_eq!(desk.shown().len(), 1);
/// ```
#[must_use]
pub fn on_event(event: &Event) -> Vec<Alert> {
    let (severity, code, quiet_for_ms) = if event.begins {
        (event.severity, event.code.to_string(), ALERT_PAUSE_MS)
    } else {
        (Severity::Note, format!("{}-ended", event.code), 0)
    };
    vec![Alert {
        severity,
        code,
        message: event.message.clone(),
        quiet_for_ms,
    }]
}

#[cfg(test)]
mod tests {
    use lockkeeper_ltx::{FileName, Level, TxidRange};

    use super::*;
    use crate::inventory::ReplicaFile;

    #[track_caller]
    fn check(facts: CheckpointFacts, expected: CheckpointProposal) {
        assert_eq!(plan_checkpoint(&facts), expected, "{facts:?}");
    }

    #[test]
    fn checkpoints_come_by_size_and_by_time_and_wait_for_snapshots() {
        let quiet = CheckpointFacts {
            min_checkpoint_pages: 1000,
            truncate_pages: 5000,
            checkpoint_interval_ms: 60_000,
            ..CheckpointFacts::default()
        };
        check(quiet, CheckpointProposal::None);
        check(
            CheckpointFacts {
                wal_pages: 1000,
                ..quiet
            },
            CheckpointProposal::Passive,
        );
        check(
            CheckpointFacts {
                wal_pages: 5000,
                ..quiet
            },
            CheckpointProposal::Truncate,
        );
        let late = CheckpointFacts {
            since_last_checkpoint_ms: 60_000,
            ..quiet
        };
        check(late, CheckpointProposal::None);
        let written = CheckpointFacts {
            written_since_last_checkpoint: true,
            ..late
        };
        check(written, CheckpointProposal::Passive);
        check(
            CheckpointFacts {
                snapshot_running: true,
                ..written
            },
            CheckpointProposal::None,
        );
        let off = CheckpointFacts {
            wal_pages: 9999,
            ..CheckpointFacts::default()
        };
        check(off, CheckpointProposal::None);
    }

    #[test]
    fn a_snapshot_comes_first_and_then_after_each_boundary_that_saw_writes() {
        let snapshot = |max, created_ms| ReplicaFile {
            level: Level::SNAPSHOT,
            name: FileName::new(TxidRange::new(Txid::FIRST, Txid::new(max).unwrap()).unwrap()),
            size: 1,
            created_ms,
        };
        let facts = |durable, snapshots| SnapshotFacts {
            now_ms: 10_500,
            durable,
            snapshots,
            snapshot_interval_ms: 1000,
            ..SnapshotFacts::default()
        };
        assert_eq!(plan_snapshot(&facts(0, vec![])), None);
        assert!(plan_snapshot(&facts(1, vec![])).is_some());
        assert_eq!(
            plan_snapshot(&facts(5, vec![snapshot(4, 10_000)])),
            None,
            "not due"
        );
        assert_eq!(
            plan_snapshot(&facts(4, vec![snapshot(4, 9_000)])),
            None,
            "nothing new"
        );
        assert!(plan_snapshot(&facts(5, vec![snapshot(4, 9_999)])).is_some());
    }
}
