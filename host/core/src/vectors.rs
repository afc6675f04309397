//! Facts that a policy must be able to answer before it decides anything: the ordinary, the empty
//! and the extreme.

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use crate::compaction;
use crate::decision::Facts;
use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::Levels;
use crate::live_set::{LiveSet, Window};
use crate::policy::{
    CheckpointFacts, CompactionFacts, Event, HoldFacts, RestoreAction, RestoreFacts,
    RetentionFacts, Severity, SnapshotFacts, SyncFacts, VerificationFacts,
};
use crate::retention;

/// Some day in November 2025, at ten.
const TEN: u64 = 1_764_237_600_000;
const HOUR: u64 = 3_600_000;
/// Files of level 0 in the largest listing: what `l0-retention` keeps at one sync per second.
const FILES_MANY: u64 = 300;

/// All of them, each with a name for messages.
///
/// # Example
///
/// ```
/// use lockkeeper_core::{decision, vectors};
///
/// for (name, facts) in vectors::all() {
///     let judged = decision::judge(&facts, &facts.fallback());
///     println!("{name}: {} {} ({} files)", facts.name(), judged.outcome, facts.files());
/// }
/// ```
#[must_use]
pub fn all() -> Vec<(&'static str, Facts)> {
    [
        syncs(),
        checkpoints(),
        snapshots(),
        verifications(),
        files(),
        points(),
        events(),
    ]
    .concat()
}

fn syncs() -> Vec<(&'static str, Facts)> {
    let busy = SyncFacts {
        now_ms: TEN,
        committed: 8,
        spooled: 7,
        durable: 6,
        oldest_pending_age_ms: 40,
        since_last_sync_ms: Some(300),
        last_put_latency_ms: Some(80),
        sync_interval_ms: 1000,
        pending_bytes: 8192,
        unsent_transactions: 1,
        budget_left: 500,
        ..SyncFacts::default()
    };
    let extreme = SyncFacts {
        now_ms: u64::MAX,
        committed: u64::MAX,
        spooled: u64::MAX,
        durable: u64::MAX,
        oldest_pending_age_ms: u64::MAX,
        since_last_sync_ms: Some(u64::MAX),
        last_put_latency_ms: Some(u64::MAX),
        consecutive_failures: u32::MAX,
        sync_interval_ms: u64::MAX,
        pending_bytes: u64::MAX,
        unsent_transactions: u32::MAX,
        budget_left: u32::MAX,
    };
    let first = SyncFacts {
        since_last_sync_ms: None,
        last_put_latency_ms: None,
        ..busy
    };
    let outage = SyncFacts {
        consecutive_failures: 90,
        ..busy
    };
    vec![
        ("a sync while commits keep coming", Facts::Sync(busy)),
        ("the first sync", Facts::Sync(first)),
        ("a sync in an outage", Facts::Sync(outage)),
        (
            "a sync about which nothing is known",
            Facts::Sync(SyncFacts::default()),
        ),
        ("a sync with the largest numbers", Facts::Sync(extreme)),
    ]
}

fn checkpoints() -> Vec<(&'static str, Facts)> {
    let full = CheckpointFacts {
        now_ms: TEN,
        wal_pages: 5000,
        since_last_checkpoint_ms: 60_000,
        written_since_last_checkpoint: true,
        min_checkpoint_pages: 1000,
        truncate_pages: 121_359,
        checkpoint_interval_ms: 60_000,
        ..CheckpointFacts::default()
    };
    let blocked = CheckpointFacts {
        snapshot_running: true,
        ..full
    };
    let extreme = CheckpointFacts {
        now_ms: u64::MAX,
        wal_pages: u32::MAX,
        since_last_checkpoint_ms: u64::MAX,
        min_checkpoint_pages: u32::MAX,
        truncate_pages: u32::MAX,
        checkpoint_interval_ms: u64::MAX,
        ..full
    };
    vec![
        ("a checkpoint of a full log", Facts::Checkpoint(full)),
        ("a checkpoint during a snapshot", Facts::Checkpoint(blocked)),
        (
            "a checkpoint of nothing",
            Facts::Checkpoint(CheckpointFacts::default()),
        ),
        (
            "a checkpoint with the largest numbers",
            Facts::Checkpoint(extreme),
        ),
    ]
}

fn snapshots() -> Vec<(&'static str, Facts)> {
    let due = SnapshotFacts {
        now_ms: TEN,
        database_bytes: 1 << 30,
        committed: 900,
        spooled: 900,
        durable: 899,
        snapshots: file(9, 1, 400, TEN - 30 * HOUR).into_iter().collect(),
        snapshot_interval_ms: 24 * HOUR,
        budget_left: 4,
    };
    let first = SnapshotFacts {
        snapshots: Vec::new(),
        ..due.clone()
    };
    let extreme = SnapshotFacts {
        now_ms: u64::MAX,
        database_bytes: u64::MAX,
        durable: u64::MAX,
        snapshot_interval_ms: u64::MAX,
        snapshots: (1..500).filter_map(|n| file(9, 1, n, u64::MAX)).collect(),
        ..due.clone()
    };
    vec![
        ("a snapshot that is due", Facts::Snapshot(due)),
        ("the first snapshot", Facts::Snapshot(first)),
        (
            "a snapshot of nothing",
            Facts::Snapshot(SnapshotFacts::default()),
        ),
        (
            "a snapshot with the largest numbers",
            Facts::Snapshot(extreme),
        ),
    ]
}

fn verifications() -> Vec<(&'static str, Facts)> {
    let due = VerificationFacts {
        now_ms: TEN,
        spooled: 900,
        durable: 900,
        verified: 100,
        since_last_verification_ms: 25 * HOUR,
        validation_interval_ms: 24 * HOUR,
        budget_left: 4,
    };
    let extreme = VerificationFacts {
        now_ms: u64::MAX,
        spooled: u64::MAX,
        durable: u64::MAX,
        verified: u64::MAX,
        since_last_verification_ms: u64::MAX,
        validation_interval_ms: u64::MAX,
        budget_left: u32::MAX,
    };
    vec![
        ("a verification that is due", Facts::Verification(due)),
        (
            "a verification of nothing",
            Facts::Verification(VerificationFacts::default()),
        ),
        (
            "a verification with the largest numbers",
            Facts::Verification(extreme),
        ),
    ]
}

fn files() -> Vec<(&'static str, Facts)> {
    let few = replica(20);
    let many = replica(FILES_MANY);
    let compaction =
        |files: &Inventory| Facts::Compaction(compaction::facts(files, &Levels::default(), TEN));
    vec![
        ("merges of a small replica", compaction(&few)),
        ("merges of a large replica", compaction(&many)),
        (
            "merges of nothing",
            Facts::Compaction(CompactionFacts::default()),
        ),
        ("keeps of a small replica", keeps(&few)),
        ("keeps of a large replica", keeps(&many)),
        (
            "keeps of nothing",
            Facts::Retention(RetentionFacts::default()),
        ),
    ]
}

fn points() -> Vec<(&'static str, Facts)> {
    let holds = HoldFacts {
        now_ms: TEN,
        database: "app.db".into(),
        snapshot_retention_ms: 24 * HOUR,
        snapshots: (1..500)
            .filter_map(|n| file(9, 1, n, TEN - (500 - n) * HOUR))
            .collect(),
    };
    let missing = RestoreFacts {
        now_ms: TEN,
        database: "app.db".into(),
        newest_txid: 900,
        newest_created_ms: Some(TEN - HOUR),
        ..RestoreFacts::default()
    };
    let take_over = RestoreFacts {
        action: RestoreAction::TakeOver,
        other_database: Some("other.db".into()),
        other_seen_ms: Some(TEN - 30_000),
        ..missing.clone()
    };
    vec![
        ("holds", Facts::Holds(holds)),
        ("holds of nothing", Facts::Holds(HoldFacts::default())),
        ("a missing database", Facts::Restore(missing)),
        ("a replica of another writer", Facts::Restore(take_over)),
    ]
}

fn events() -> Vec<(&'static str, Facts)> {
    let begins = Event {
        now_ms: TEN,
        database: "app.db".into(),
        code: "log-held".into(),
        begins: true,
        severity: Severity::Error,
        message: "a reader keeps 600000000 bytes of log from being emptied".into(),
        count: 1,
        previous_ms: None,
    };
    let ends = Event {
        begins: false,
        severity: Severity::Note,
        message: "it is over".into(),
        ..begins.clone()
    };
    let often = Event {
        count: u32::MAX,
        previous_ms: Some(u64::MAX),
        now_ms: u64::MAX,
        ..begins.clone()
    };
    let unknown = Event {
        code: "of-a-later-host".into(),
        ..begins.clone()
    };
    vec![
        ("something that begins", Facts::Event(begins)),
        ("something that ends", Facts::Event(ends)),
        ("something that begins again and again", Facts::Event(often)),
        ("something that nobody knows", Facts::Event(unknown)),
    ]
}

fn keeps(files: &Inventory) -> Facts {
    let window = Window::default();
    Facts::Retention(match LiveSet::new(files, &window, TEN) {
        Ok(live) => retention::facts(files, &live, window, TEN),
        Err(_) => RetentionFacts::default(),
    })
}

/// Three snapshots, one of them too old, merged files between them, and files of level 0 at one per
/// second until now.
fn replica(singles: u64) -> Inventory {
    let ago = |hours| TEN - hours * HOUR;
    let mut files = vec![
        file(9, 1, 5, ago(60)),
        file(9, 1, 10, ago(40)),
        file(3, 11, 60, ago(30)),
        file(9, 1, 80, ago(10)),
        file(3, 61, 80, ago(10)),
        file(2, 61, 80, ago(11)),
        file(1, 81, 100, ago(1)),
    ];
    files.extend((0..singles).map(|n| file(0, 101 + n, 101 + n, TEN - (singles - n) * 1000)));
    Inventory::new(files.into_iter().flatten().collect())
}

fn file(level: u8, min: u64, max: u64, created_ms: u64) -> Option<ReplicaFile> {
    Some(ReplicaFile {
        level: Level::new(level)?,
        name: FileName::new(TxidRange::new(Txid::new(min)?, Txid::new(max)?)?),
        size: 4096,
        created_ms: i64::try_from(created_ms).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decision::{Outcome, judge};

    #[test]
    fn every_question_is_asked_and_the_built_in_rules_answer_it() {
        let mut names = BTreeSet::new();
        for (name, facts) in all() {
            names.insert(facts.name());
            let judged = judge(&facts, &facts.fallback());
            assert!(judged.outcome != Outcome::Nothing, "{name}");
        }
        assert_eq!(names.len(), 9, "{names:?}");
    }

    #[test]
    fn the_large_replica_has_something_to_merge_and_to_delete() {
        let outcomes: Vec<_> = files()
            .iter()
            .map(|(_, facts)| judge(facts, &facts.fallback()).outcome)
            .collect();
        let merges = |outcome: &Outcome| matches!(outcome, Outcome::Compaction(merges) if !merges.is_empty());
        assert!(merges(&outcomes[0]) && merges(&outcomes[1]));
        let deletes =
            |outcome: &Outcome| matches!(outcome, Outcome::Retention(it) if !it.files.is_empty());
        assert!(deletes(&outcomes[4]));
    }
}
