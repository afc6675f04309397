//! Answers that have the right form and ask for too much, or make no sense.

use lockkeeper_core::guard::holds::HoldsPause;
use lockkeeper_core::policy::{Alert, RestoreAction, Severity};

use super::super::testing::Guest;
use super::*;

/// An answer that is a list of one record at 512, of whose three first fields these are the bytes.
fn one_record(decision: &'static str, bytes: &str) -> Guest {
    Guest::default()
        .item(r#"(data (i32.const 400) "\00\02\00\00\01\00\00\00")"#)
        .item(&format!(r#"(data (i32.const 512) "{bytes}")"#))
        .export(decision, "(i32.const 400)")
}

#[test]
fn a_keep_that_makes_no_sense_deletes_nothing_at_all() {
    // Level 9, from TXID 3 to TXID 1.
    let bytes = r"\09\00\00\00\00\00\00\00\03\00\00\00\00\00\00\00\01";
    let policy = one_record("plan-retention", bytes).policy();
    let inventory = inventory();
    let deletions = policy.plan_retention(&Review::new(situation(&inventory)).unwrap());
    assert_eq!(deleted(&deletions), [] as [&str; 0]);
    assert_eq!(policy.stats().clamps, 1);
}

#[test]
fn a_merge_that_leaves_something_out_is_not_made() {
    // Level 1, TXID 3 alone, while TXID 2 waits before it.
    let bytes = r"\01\00\00\00\00\00\00\00\03\00\00\00\00\00\00\00\03";
    let policy = one_record("plan-compaction", bytes).policy();
    assert_eq!(policy.plan_compaction(&compaction_facts()).accepted, []);
    let stats = policy.stats();
    assert_eq!((stats.failures, stats.clamps), (0, 1));
}

#[test]
fn a_point_that_a_policy_holds_keeps_its_files() {
    // At 1,200 ms, which the first snapshot restores.
    let bytes = r"\b0\04\00\00\00\00\00\00\40\00\00\00\04\00\00\00";
    let policy = one_record("plan-holds", bytes).policy();
    let inventory = inventory();
    let mut review = Review::new(situation(&inventory)).unwrap();
    let holds = policy.plan_holds(&review.hold_facts("app.db")).unwrap();
    let held = review.hold(holds);
    assert_eq!((held[0].at_ms, held[0].txid), (1_200, Txid::new(1)));
    assert_eq!(held[0].reason, "test");
    let deletions = policy.plan_retention(&review);
    assert_eq!(deleted(&deletions), [] as [&str; 0]);
}

#[test]
fn without_an_answer_about_holds_it_is_not_known_what_may_go() {
    let policy = Guest::default()
        .export("plan-holds", "(unreachable)")
        .policy();
    let unknown = Err(HoldsPause::Unknown);
    // And no less when it is set aside.
    for _ in 0..5 {
        assert_eq!(policy.plan_holds(&HoldFacts::default()), unknown);
    }
    let stats = policy.stats();
    assert_eq!((stats.failures, stats.clamps), (3, 5));
    assert!(stats.asked_again_in.is_some());
}

#[test]
fn more_holds_than_can_be_looked_up_are_an_alarm_and_not_a_choice() {
    let many = "(i32.store (i32.const 400) (i32.const 0x20000))
        (i32.store (i32.const 404) (i32.const 1001))
        (i32.const 400)";
    let policy = Guest::default().export("plan-holds", many).policy();
    let found = policy.plan_holds(&HoldFacts::default());
    assert_eq!(found, Err(HoldsPause::TooMany { count: 1001 }));
    let refusals = policy.stats().refusals;
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(
        (refusals[0].decision, refusals[0].reason),
        ("plan-holds", "too-many-holds")
    );
}

#[test]
fn a_policy_can_refuse_a_restore_and_cannot_keep_a_replica_from_a_new_machine() {
    let refuse = Guest::default()
        .item(r#"(data (i32.const 400) "\01\00\00\00\40\00\00\00\04\00\00\00")"#)
        .export("approve-restore", "(i32.const 400)");
    let policy = refuse.policy();
    let missing = RestoreFacts::default();
    assert_eq!(policy.approve_restore(&missing), Err("test".into()));
    let take_over = RestoreFacts {
        action: RestoreAction::TakeOver,
        now_ms: u64::MAX,
        other_seen_ms: Some(0),
        ..missing
    };
    assert_eq!(policy.approve_restore(&take_over), Ok(()));
    let refusals = policy.stats().refusals;
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason, "other-writer-gone");
}

#[test]
fn what_a_policy_makes_of_an_event_is_what_people_are_told() {
    // A warning that keeps others quiet for 7 ms.
    let bytes = r"\01\00\00\00\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00\00\00\00\00\07";
    let policy = one_record("on-event", bytes).policy();
    let expected = Alert {
        severity: Severity::Warning,
        code: "test".into(),
        message: "test".into(),
        quiet_for_ms: 7,
    };
    assert_eq!(alerts(&policy, &Event::default()), [expected]);
    let silent = Guest::default().policy();
    assert_eq!(alerts(&silent, &Event::default()), []);
}

#[test]
fn merges_and_keeps_that_cannot_be_read_are_counted() {
    // Level 200.
    let bytes = r"\c8\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\03";
    let reasons = [
        ("plan-compaction", "unreadable-merge"),
        ("plan-retention", "unreadable-keep"),
    ];
    for (decision, reason) in reasons {
        let policy = one_record(decision, bytes).policy();
        let inventory = inventory();
        assert_eq!(policy.plan_compaction(&compaction_facts()).accepted, []);
        policy.plan_retention(&Review::new(situation(&inventory)).unwrap());
        let refusals = policy.stats().refusals;
        let found = refusals.iter().find(|it| it.decision == decision);
        assert_eq!(found.map(|it| (it.reason, it.count)), Some((reason, 1)));
    }
}

#[test]
fn a_component_that_needs_what_this_host_cannot_do_is_refused() {
    let guest = |need: &str| {
        let need = format!(
            "(data (i32.const 740) \"\\f0\\02\\00\\00\\0{}\\00\\00\\00\") (data (i32.const 752) \"{need}\")",
            need.len()
        );
        Guest::default()
            .item(r#"(data (i32.const 700) "\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00\e4\02\00\00\01\00\00\00")"#)
            .item(&need)
            .export("metadata", "(i32.const 700)")
            .load()
    };
    let error = guest("time").unwrap_err().to_string();
    assert!(
        error.contains("it needs `time`, and this host has budget"),
        "{error}"
    );
    assert!(guest("holds").is_ok());
}
