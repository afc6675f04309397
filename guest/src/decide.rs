//! When to seal, checkpoint, snapshot and merge, what to keep, and what to tell people. Times are
//! milliseconds.

mod compaction;
mod event;
mod retention;
mod round;

use alloc::format;
use alloc::string::String;

pub use compaction::{CompactionFacts, File, Level, Merge, plan_compaction};
pub use event::{Alert, Event, on_event};
pub use retention::{Held, Keep, RetentionFacts, plan_retention};
use round::Round;

/// What [`plan_sync`] is asked with.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncFacts {
    /// Time since the last seal; none before the first.
    pub since_last_sync: Option<u64>,
    /// The longest a commit may wait while others keep coming.
    pub sync_interval: u64,
}

/// How long to wait before sealing the commits that wait.
///
/// A lone commit after a quiet period goes at once; a stream of them is sealed once per interval.
/// That also holds after failures: an upload that keeps failing is not helped by more, smaller
/// files, and the interval is the most that may be waited.
#[must_use]
pub fn plan_sync(facts: &SyncFacts) -> u64 {
    match facts.since_last_sync {
        Some(since) => facts.sync_interval.saturating_sub(since),
        None => 0,
    }
}

/// What [`plan_checkpoint`] is asked with. Each threshold is 0 if turned off.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointFacts {
    /// Committed frames in the log that are not yet copied into the database.
    pub wal_pages: u32,
    /// Time since the last checkpoint.
    pub since_last_checkpoint: u64,
    /// Whether the application committed since then.
    pub written_since_last_checkpoint: bool,
    /// Whether a snapshot is reading the database.
    pub snapshot_running: bool,
    /// Pages from which on a passive checkpoint is made.
    pub min_checkpoint_pages: u32,
    /// Pages from which on the log is truncated.
    pub truncate_pages: u32,
    /// Time after which a passive checkpoint is made.
    pub checkpoint_interval: u64,
}

/// What to do about the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checkpoint {
    /// Nothing.
    None,
    /// Copy back what no reader needs.
    Passive,
    /// Copy back everything and cut the log to nothing.
    Truncate,
}

/// Whether to copy the log back into the database: Litestream's three thresholds, in its order.
#[must_use]
pub fn plan_checkpoint(facts: &CheckpointFacts) -> Checkpoint {
    let reached = |threshold| threshold > 0 && facts.wal_pages >= threshold;
    if facts.snapshot_running {
        // It would have to wait for the snapshot, and the application's writers for it.
        return Checkpoint::None;
    }
    if reached(facts.truncate_pages) {
        return Checkpoint::Truncate;
    }
    let due = facts.checkpoint_interval > 0
        && facts.since_last_checkpoint >= facts.checkpoint_interval
        && facts.written_since_last_checkpoint;
    if reached(facts.min_checkpoint_pages) || due {
        return Checkpoint::Passive;
    }
    Checkpoint::None
}

/// What [`plan_snapshot`] is asked with.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotFacts {
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// The newest transaction the replica confirmed; 0 before the first.
    pub durable: u64,
    /// The newest snapshot.
    pub newest: Option<Snapshot>,
    /// As configured; 0 if turned off.
    pub snapshot_interval: u64,
}

/// A snapshot that the replica holds.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The transaction it shows.
    pub max_txid: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created: u64,
}

/// Why a snapshot should be made now, if it should.
///
/// Due at wall-clock multiples of the interval, as in Litestream, so that a restart neither skips
/// nor repeats one.
#[must_use]
pub fn plan_snapshot(facts: &SnapshotFacts) -> Option<String> {
    if facts.durable == 0 {
        return None;
    }
    let Some(newest) = facts.newest else {
        return Some("the replica has no snapshot".into());
    };
    let round = Round::at(facts.now, facts.snapshot_interval)?;
    (newest.created < round.start && newest.max_txid < facts.durable).then(|| {
        format!(
            "the newest snapshot ends at transaction {} of {} and is older than snapshot.interval",
            newest.max_txid, facts.durable
        )
    })
}

/// What [`plan_verification`] is asked with.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerificationFacts {
    /// The newest transaction the replica confirmed; 0 before the first.
    pub durable: u64,
    /// The last transaction that was proven; 0 if none.
    pub verified: u64,
    /// Time since the last verification.
    pub since_last_verification: u64,
    /// As configured; 0 if turned off.
    pub validation_interval: u64,
}

/// Why the replica should be verified now, if it should: at the configured interval, if there is
/// something new.
#[must_use]
pub fn plan_verification(facts: &VerificationFacts) -> Option<&'static str> {
    let is_due =
        facts.validation_interval > 0 && facts.since_last_verification >= facts.validation_interval;
    (is_due && facts.durable > facts.verified).then_some("the validation interval has passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn sync(since: Option<u64>, wait: u64) {
        let facts = SyncFacts {
            since_last_sync: since,
            sync_interval: 1000,
        };
        assert_eq!(plan_sync(&facts), wait, "{facts:?}");
    }

    #[test]
    fn lone_commits_go_at_once_and_streams_are_batched() {
        sync(None, 0);
        sync(Some(1000), 0);
        sync(Some(60_000), 0);
        sync(Some(300), 700);
        sync(Some(0), 1000);
    }

    #[test]
    fn checkpoints_follow_three_thresholds() {
        let base = CheckpointFacts {
            min_checkpoint_pages: 1000,
            truncate_pages: 5000,
            checkpoint_interval: 60_000,
            ..CheckpointFacts::default()
        };
        assert_eq!(plan_checkpoint(&base), Checkpoint::None);
        let full = CheckpointFacts {
            wal_pages: 5000,
            ..base
        };
        assert_eq!(plan_checkpoint(&full), Checkpoint::Truncate);
        let held = CheckpointFacts {
            snapshot_running: true,
            ..full
        };
        assert_eq!(plan_checkpoint(&held), Checkpoint::None);
        let off = CheckpointFacts {
            truncate_pages: 0,
            ..full
        };
        assert_eq!(plan_checkpoint(&off), Checkpoint::Passive);
        let off = CheckpointFacts {
            min_checkpoint_pages: 0,
            ..off
        };
        assert_eq!(plan_checkpoint(&off), Checkpoint::None);
        let quiet = CheckpointFacts {
            since_last_checkpoint: 60_000,
            ..base
        };
        assert_eq!(plan_checkpoint(&quiet), Checkpoint::None);
        let due = CheckpointFacts {
            written_since_last_checkpoint: true,
            ..quiet
        };
        assert_eq!(plan_checkpoint(&due), Checkpoint::Passive);
        let early = CheckpointFacts {
            since_last_checkpoint: 59_999,
            ..due
        };
        assert_eq!(plan_checkpoint(&early), Checkpoint::None);
    }

    #[test]
    fn what_is_new_is_verified_at_the_interval() {
        let due = VerificationFacts {
            durable: 2,
            verified: 1,
            since_last_verification: 1000,
            validation_interval: 1000,
        };
        assert!(plan_verification(&due).is_some());
        for not_due in [
            VerificationFacts { verified: 2, ..due },
            VerificationFacts {
                since_last_verification: 999,
                ..due
            },
            VerificationFacts {
                validation_interval: 0,
                ..due
            },
        ] {
            assert_eq!(plan_verification(&not_due), None, "{not_due:?}");
        }
    }

    #[test]
    fn snapshots_come_at_multiples_of_the_interval() {
        let at = |created, max_txid| Some(Snapshot { max_txid, created });
        let ask = |durable, newest, snapshot_interval| {
            plan_snapshot(&SnapshotFacts {
                now: 2_500,
                durable,
                newest,
                snapshot_interval,
            })
            .is_some()
        };
        assert!(!ask(0, None, 1000));
        assert!(ask(1, None, 1000));
        assert!(ask(1, None, 0));
        assert!(ask(9, at(1_999, 8), 1000));
        assert!(!ask(9, at(2_000, 8), 1000));
        assert!(!ask(9, at(1_999, 9), 1000));
        assert!(!ask(9, at(1_999, 8), 0));
        assert!(
            !ask(9, at(9_999, 8), 1000),
            "a clock that went back is no reason"
        );
    }
}
