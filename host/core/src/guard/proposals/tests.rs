use lockkeeper_ltx::{FileName, Level, TxidRange};
use proptest::prelude::*;

use super::*;
use crate::inventory::ReplicaFile;

fn file(max: u64, created_ms: i64) -> ReplicaFile {
    let max = Txid::new(max).unwrap();
    ReplicaFile {
        level: Level::SNAPSHOT,
        name: FileName::new(TxidRange::new(Txid::FIRST, max).unwrap()),
        size: 1,
        created_ms,
    }
}

#[test]
fn no_commit_waits_longer_than_the_sync_interval() {
    let facts = SyncFacts {
        oldest_pending_age_ms: 300,
        sync_interval_ms: 1000,
        ..SyncFacts::default()
    };
    let wait = |wait_ms| sync(&facts, SyncProposal { wait_ms });
    assert_eq!(wait(700), Guarded::kept(SyncProposal { wait_ms: 700 }));
    let most = SyncProposal { wait_ms: 700 };
    assert_eq!(wait(701), Guarded::changed(most, Clamp::SyncTooLate));
    assert_eq!(wait(u64::MAX), Guarded::changed(most, Clamp::SyncTooLate));
    let late = SyncFacts {
        oldest_pending_age_ms: 5000,
        ..facts
    };
    let guarded = sync(&late, SyncProposal { wait_ms: 1 });
    assert_eq!(guarded.decision.wait_ms, 0);
}

/// Thresholds of 100 and 1000 pages, a full log, and time enough since the last checkpoint.
fn full_log(wal_pages: u32) -> CheckpointFacts {
    CheckpointFacts {
        wal_pages,
        since_last_checkpoint_ms: 60_000,
        written_since_last_checkpoint: true,
        min_checkpoint_pages: 100,
        truncate_pages: 1000,
        budget_left: 1,
        ..CheckpointFacts::default()
    }
}

#[track_caller]
fn check(
    facts: CheckpointFacts,
    proposal: CheckpointProposal,
    decision: CheckpointProposal,
    clamp: Option<Clamp>,
) {
    let guarded = checkpoint(&facts, proposal);
    assert_eq!(guarded, Guarded { decision, clamp }, "{facts:?}");
}

#[test]
fn the_log_is_truncated_at_the_configured_size_only() {
    use CheckpointProposal::{Passive, Truncate};
    check(full_log(1000), Truncate, Truncate, None);
    let soon = Some(Clamp::TruncateTooSoon);
    check(full_log(999), Truncate, Passive, soon);
    let off = CheckpointFacts {
        truncate_pages: 0,
        ..full_log(u32::MAX)
    };
    check(off, Truncate, Passive, soon);
}

#[test]
fn no_checkpoint_waits_for_a_snapshot() {
    use CheckpointProposal::{None as Leave, Passive, Truncate};
    let reading = CheckpointFacts {
        snapshot_running: true,
        ..full_log(100_000)
    };
    check(reading, Passive, Leave, Some(Clamp::SnapshotRunning));
    check(reading, Truncate, Leave, Some(Clamp::SnapshotRunning));
    check(reading, Leave, Leave, None);
}

#[test]
fn the_log_of_a_policy_that_never_checkpoints_stays_bounded() {
    use CheckpointProposal::{None as Leave, Passive};
    check(full_log(399), Leave, Leave, None);
    check(full_log(400), Leave, Passive, Some(Clamp::LogTooLong));
    let truncate_only = CheckpointFacts {
        min_checkpoint_pages: 0,
        ..full_log(4000)
    };
    check(truncate_only, Leave, Passive, Some(Clamp::LogTooLong));
    let huge = CheckpointFacts {
        min_checkpoint_pages: u32::MAX,
        truncate_pages: 0,
        ..full_log(u32::MAX)
    };
    check(huge, Leave, Passive, Some(Clamp::LogTooLong));
    let off = CheckpointFacts {
        truncate_pages: 0,
        ..truncate_only
    };
    check(off, Leave, Leave, None);
}

#[test]
fn small_checkpoints_need_new_commits_and_a_pause() {
    use CheckpointProposal::{None as Leave, Passive};
    let soon = Some(Clamp::CheckpointTooSoon);
    check(full_log(5), Passive, Passive, None);
    let idle = CheckpointFacts {
        written_since_last_checkpoint: false,
        ..full_log(5)
    };
    check(idle, Passive, Leave, soon);
    let hasty = CheckpointFacts {
        since_last_checkpoint_ms: 999,
        ..full_log(5)
    };
    check(hasty, Passive, Leave, soon);
    let wanted = CheckpointFacts {
        checkpoint_interval_ms: 500,
        ..hasty
    };
    check(wanted, Passive, Passive, None);
    let large = CheckpointFacts {
        wal_pages: 100,
        written_since_last_checkpoint: false,
        ..hasty
    };
    check(large, Passive, Passive, None);
}

#[test]
fn a_replica_without_a_snapshot_gets_one_although_the_policy_wants_none() {
    let facts = SnapshotFacts {
        durable: 1,
        ..SnapshotFacts::default()
    };
    let guarded = snapshot(&facts, None);
    assert!(guarded.decision.is_some());
    assert_eq!(guarded.clamp, Some(Clamp::SnapshotMissing));
    let empty = SnapshotFacts::default();
    assert_eq!(snapshot(&empty, None), Guarded::kept(None));
    assert_eq!(
        snapshot(&empty, Some("now")),
        Guarded::changed(None, Clamp::NothingNew)
    );
}

#[test]
fn snapshots_need_something_new_and_a_pause() {
    let facts = |durable, now_ms| SnapshotFacts {
        now_ms,
        durable,
        snapshots: vec![file(5, 1_000_000), file(3, 9_000_000)],
        budget_left: 1,
        ..SnapshotFacts::default()
    };
    let later = 1_000_000 + SNAPSHOT_PAUSE_MIN_MS;
    let ask = |durable, now_ms| snapshot(&facts(durable, now_ms), Some("because"));
    assert_eq!(ask(6, later), Guarded::kept(Some("because".to_owned())));
    assert_eq!(ask(5, later), Guarded::changed(None, Clamp::NothingNew));
    let soon = Guarded::changed(None, Clamp::SnapshotTooSoon);
    assert_eq!(ask(6, later - 1), soon);
    assert_eq!(ask(6, 0), soon, "a clock that went back");
    let due = SnapshotFacts {
        snapshot_interval_ms: 1000,
        ..facts(6, later)
    };
    assert!(fallback::plan_snapshot(&due).is_some());
    assert_eq!(
        snapshot(&due, None),
        Guarded::kept(None),
        "a policy may skip one"
    );
}

#[test]
fn the_reason_of_a_snapshot_is_bounded_and_cannot_forge_a_line() {
    let facts = SnapshotFacts {
        durable: 1,
        ..SnapshotFacts::default()
    };
    let reason = format!("a\nb{}", "x".repeat(10_000));
    let guarded = snapshot(&facts, Some(&reason)).decision.unwrap();
    assert!(guarded.starts_with("a\\u{a}bx"), "{guarded}");
    assert!(guarded.chars().count() < REASON_CHARS_MAX + 10);
}

#[test]
fn verifications_need_something_new_and_a_pause_and_are_not_put_off_for_long() {
    let facts = |since_ms, interval_ms| VerificationFacts {
        durable: 2,
        verified: 1,
        since_last_verification_ms: since_ms,
        validation_interval_ms: interval_ms,
        budget_left: 1,
        ..VerificationFacts::default()
    };
    let wanted = |facts| verification(&facts, Some("because"));
    let because = Guarded::kept(Some("because".to_owned()));
    let soon = Guarded::changed(None, Clamp::VerificationTooSoon);
    assert_eq!(wanted(facts(VERIFICATION_PAUSE_MIN_MS, 0)), because);
    assert_eq!(wanted(facts(VERIFICATION_PAUSE_MIN_MS - 1, 0)), soon);
    assert_eq!(wanted(facts(1000, 1000)), because, "it was configured");
    assert_eq!(wanted(facts(999, 1000)), soon);
    let proven = VerificationFacts {
        verified: 2,
        ..facts(u64::MAX, 1000)
    };
    assert_eq!(wanted(proven), Guarded::changed(None, Clamp::NothingNew));

    let unwanted = |facts| verification(&facts, None);
    assert_eq!(unwanted(facts(1999, 1000)), Guarded::kept(None));
    let overdue = unwanted(facts(2000, 1000));
    assert_eq!(overdue.clamp, Some(Clamp::VerificationOverdue));
    assert!(overdue.decision.is_some());
    assert_eq!(unwanted(facts(u64::MAX, 0)), Guarded::kept(None));
    assert_eq!(unwanted(proven), Guarded::kept(None));
}

#[test]
fn a_policy_is_not_asked_all_the_time_about_the_same_commits() {
    let facts = |since_last_sync_ms, oldest_pending_age_ms| SyncFacts {
        oldest_pending_age_ms,
        since_last_sync_ms,
        sync_interval_ms: 1000,
        budget_left: 1,
        ..SyncFacts::default()
    };
    let wait = |facts, wait_ms| sync(&facts, SyncProposal { wait_ms });
    let least = Guarded::changed(SyncProposal { wait_ms: 50 }, Clamp::WaitTooShort);
    assert_eq!(wait(facts(Some(300), 0), 1), least);
    assert_eq!(wait(facts(None, 0), 49), least);
    let kept = |wait_ms| Guarded::kept(SyncProposal { wait_ms });
    assert_eq!(wait(facts(Some(300), 0), 50), kept(50));
    assert_eq!(wait(facts(Some(300), 0), 0), kept(0), "at once");
    assert_eq!(wait(facts(Some(993), 0), 7), kept(7), "until it is due");
    assert_eq!(wait(facts(None, 993), 7), kept(7), "as long as it may");
    let least = Guarded::changed(SyncProposal { wait_ms: 7 }, Clamp::WaitTooShort);
    assert_eq!(wait(facts(Some(1100), 993), 1), least, "it is due");
}

#[test]
fn without_a_budget_no_seal_comes_before_the_sync_interval_has_passed() {
    let facts = |budget_left| SyncFacts {
        oldest_pending_age_ms: 100,
        since_last_sync_ms: Some(300),
        sync_interval_ms: 1000,
        budget_left,
        ..SyncFacts::default()
    };
    let wait = |budget_left, wait_ms| sync(&facts(budget_left), SyncProposal { wait_ms });
    assert_eq!(wait(1, 0), Guarded::kept(SyncProposal { wait_ms: 0 }));
    let pace = SyncProposal { wait_ms: 700 };
    assert_eq!(wait(0, 0), Guarded::changed(pace, Clamp::OverBudget));
    assert_eq!(wait(0, 699), Guarded::changed(pace, Clamp::OverBudget));
    assert_eq!(wait(0, 800), Guarded::kept(SyncProposal { wait_ms: 800 }));
}

#[test]
fn without_a_budget_only_what_is_configured_is_done() {
    use CheckpointProposal::{None as Leave, Passive};
    let over = Some(Clamp::OverBudget);
    let poor = CheckpointFacts {
        budget_left: 0,
        ..full_log(5)
    };
    check(poor, Passive, Leave, over);
    let large = CheckpointFacts {
        wal_pages: 100,
        ..poor
    };
    check(large, Passive, Passive, None);
    let unscheduled = SnapshotFacts {
        now_ms: 1_000_000 + SNAPSHOT_PAUSE_MIN_MS,
        durable: 6,
        snapshots: vec![file(5, 1_000_000)],
        ..SnapshotFacts::default()
    };
    assert_eq!(snapshot(&unscheduled, Some("more")).clamp, over);
    let due = SnapshotFacts {
        snapshot_interval_ms: 1000,
        ..unscheduled
    };
    assert_eq!(snapshot(&due, Some("due")).clamp, None);
    let unscheduled = VerificationFacts {
        durable: 1,
        since_last_verification_ms: VERIFICATION_PAUSE_MIN_MS,
        ..VerificationFacts::default()
    };
    assert_eq!(verification(&unscheduled, Some("more")).clamp, over);
    let due = VerificationFacts {
        validation_interval_ms: 1000,
        ..unscheduled
    };
    assert_eq!(verification(&due, Some("due")).clamp, None);
}

fn checkpoint_facts() -> impl Strategy<Value = CheckpointFacts> {
    let pages = || prop_oneof![Just(0), 0..50_u32, any::<u32>()];
    let ms = || prop_oneof![Just(0), 0..5000_u64, any::<u64>()];
    (
        pages(),
        ms(),
        any::<bool>(),
        any::<bool>(),
        pages(),
        pages(),
        ms(),
    )
        .prop_map(
            |(wal_pages, since, written, running, min, truncate, interval)| CheckpointFacts {
                now_ms: 0,
                wal_pages,
                since_last_checkpoint_ms: since,
                written_since_last_checkpoint: written,
                snapshot_running: running,
                min_checkpoint_pages: min,
                truncate_pages: truncate,
                checkpoint_interval_ms: interval,
                ..CheckpointFacts::default()
            },
        )
}

proptest! {
    #[test]
    fn the_built_in_checkpoints_pass_unchanged(facts in checkpoint_facts()) {
        let proposal = fallback::plan_checkpoint(&facts);
        prop_assert_eq!(checkpoint(&facts, proposal), Guarded::kept(proposal));
    }

    /// A commit is noticed after the last sync, never before it.
    #[test]
    fn the_built_in_sync_passes_unchanged(
        since in proptest::option::of(0..5000_u64), age in 0..5000_u64, interval in 0..5000_u64,
    ) {
        let facts = SyncFacts {
            oldest_pending_age_ms: since.map_or(age, |since| age.min(since)),
            since_last_sync_ms: since,
            sync_interval_ms: interval,
            ..SyncFacts::default()
        };
        let proposal = fallback::plan_sync(&facts);
        prop_assert_eq!(sync(&facts, proposal), Guarded::kept(proposal));
    }

    #[test]
    fn the_built_in_verifications_pass_unchanged(
        durable in 0..5_u64, verified in 0..5_u64, since in 0..5000_u64, interval in 0..5000_u64,
    ) {
        let facts = VerificationFacts {
            durable,
            verified,
            since_last_verification_ms: since,
            validation_interval_ms: interval,
            ..VerificationFacts::default()
        };
        let proposal = fallback::plan_verification(&facts);
        prop_assert_eq!(
            verification(&facts, proposal),
            Guarded::kept(proposal.map(str::to_owned))
        );
    }

    #[test]
    fn the_built_in_snapshots_pass_unchanged(
        now_ms in 0..100_000_u64, durable in 0..10_u64, interval in 0..70_000_u64,
        snapshots in proptest::collection::vec((1..10_u64, 0..100_000_i64), 0..3),
    ) {
        let facts = SnapshotFacts {
            now_ms,
            durable,
            snapshots: snapshots.into_iter().map(|(max, at)| file(max, at)).collect(),
            snapshot_interval_ms: interval,
            ..SnapshotFacts::default()
        };
        let proposal = fallback::plan_snapshot(&facts);
        prop_assert_eq!(
            snapshot(&facts, proposal),
            Guarded::kept(proposal.map(str::to_owned))
        );
    }
}
