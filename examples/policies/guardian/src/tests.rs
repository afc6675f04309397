use super::*;

/// A Monday at noon, 28 periods of four weeks and more after 1970.
const NOW: u64 = 728 * 28 * DAY + DAY / 2;

/// Two snapshots each day for `days` days until now, as the last transactions that are kept.
fn kept(days: u64) -> Vec<u64> {
    let snapshot = |n: u64| HeldFile {
        file: FileFacts {
            level: rules::SNAPSHOT,
            min_txid: 1,
            max_txid: n,
            size_bytes: 4096,
            created: NOW - (2 * days - n) * (DAY / 2),
        },
        needed: None,
    };
    let keeps = Guardian::plan_retention(RetentionFacts {
        now: NOW,
        snapshot_retention: DAY,
        l0_retention: DAY,
        files: (1..=2 * days).map(snapshot).collect(),
    });
    let mut ends: Vec<u64> = keeps.iter().map(|keep| keep.max_txid).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

#[test]
fn a_week_of_days_is_kept_and_of_each_day_the_last() {
    assert_eq!(kept(3), [2, 4, 6]);
}

#[test]
fn after_a_year_there_are_sons_fathers_and_grandfathers() {
    let kept = kept(400);
    // Seven days and the one that began, five weeks, thirteen times four weeks; some coincide.
    assert!((18..=26).contains(&kept.len()), "{kept:?}");
    assert!(kept.iter().any(|&end| end < 2 * (400 - 300)), "{kept:?}");
}

#[test]
fn a_replica_that_is_old_is_not_restored_without_a_person() {
    let facts = |age: u64| RestoreFacts {
        now: NOW,
        action: "restore-missing".into(),
        database: "app.db".into(),
        newest_txid: 9,
        newest_created: Some(NOW - age),
        other_database: None,
        other_seen: None,
    };
    assert_eq!(Guardian::approve_restore(facts(DAY)), Ok(()));
    let refused = Guardian::approve_restore(facts(31 * DAY)).unwrap_err();
    assert!(refused.contains("31 days old"), "{refused}");
}

#[test]
fn the_replica_is_proven_every_day_whatever_is_configured() {
    let facts = |since_last_verification| VerificationFacts {
        now: NOW,
        marks: Watermarks {
            committed: 2,
            spooled: 2,
            durable: 2,
        },
        verified: 1,
        since_last_verification,
        validation_interval: 0,
        budget_left: 4,
    };
    assert!(Guardian::plan_verification(facts(DAY - 1)).is_none());
    assert!(Guardian::plan_verification(facts(DAY)).is_some());
}
