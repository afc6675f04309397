//! Components that match the contract and misbehave: each is contained, the message says what it
//! did, and the built-in rules decide.

use std::time::Duration;

use lockkeeper_core::guard::holds::HoldsPause;

use super::super::Policy;
use super::super::failure::Cause;
use super::super::sandbox::{Bounds, DECISION, RUNNING_MAX};
use super::super::strikes::STRIKES_MAX;
use super::super::testing::{Guest, exports};
use super::*;

const LOOP: &str = "(loop (br 0)) (unreachable)";
/// Grows its memory until that is refused, and traps.
const BOMB: &str =
    "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
const LOG: &str = r#"(import "$root" "log" (func $log (param i32 i32 i32)))"#;

/// Asks for every decision, whose built-in answers must come.
#[track_caller]
fn built_in_rules_decide(guest: &Guest, because: &str) {
    let component = guest.load().unwrap();
    // One for each, so that none is set aside for another.
    let policies: [Policy; 9] = std::array::from_fn(|_| Policy::new(component.clone()));
    let log = logged(|| ask_for_everything(&policies));
    for policy in &policies {
        let stats = policy.stats();
        assert_eq!((stats.calls, stats.failures), (1, 1), "{stats:?}");
    }
    let is_failure = |line: &&str| line.contains("gave no answer");
    let lines: Vec<&str> = log.lines().filter(is_failure).collect();
    assert_eq!(lines.len(), policies.len(), "{log}");
    for line in lines {
        assert!(line.contains(because), "{because:?} is not in {line}");
    }
}

fn ask_for_everything(policies: &[Policy; 9]) {
    let [
        sync,
        checkpoint,
        snapshot,
        verification,
        compaction,
        retention,
        holds,
        restore,
        events,
    ] = policies;
    assert_eq!(sync.plan_sync(&sync_facts()), 700);
    let proposal = checkpoint.plan_checkpoint(&checkpoint_facts());
    assert_eq!(proposal, CheckpointProposal::Passive);
    let reason = snapshot.plan_snapshot(&snapshot_facts());
    assert_eq!(reason.as_deref(), Some("the replica has no snapshot"));
    let reason = verification.plan_verification(&verification_facts());
    assert!(reason.is_some());
    let merges = compaction.plan_compaction(&compaction_facts()).accepted;
    let merged: Vec<String> = merges.iter().map(|it| it.range().to_string()).collect();
    assert_eq!(merged, ["0000000000000002-0000000000000003"]);
    let deletions = retention.plan_retention(&Review::new(situation(&inventory())).unwrap());
    assert_eq!(
        deleted(&deletions),
        ["0000000000000001-0000000000000001.ltx"]
    );
    let unknown = Err(HoldsPause::Unknown);
    assert_eq!(holds.plan_holds(&HoldFacts::default()), unknown);
    assert_eq!(restore.approve_restore(&RestoreFacts::default()), Ok(()));
    assert_eq!(alerts(events, &event()), fallback::on_event(&event()));
}

/// Every decision has this body.
pub(super) fn all_decisions(body: &str) -> Guest {
    Guest::default()
        .export("plan-sync", body)
        .export("plan-checkpoint", body)
        .export("plan-snapshot", body)
        .export("plan-verification", body)
        .export("plan-compaction", body)
        .export("plan-retention", body)
        .export("plan-holds", body)
        .export("approve-restore", body)
        .export("on-event", body)
}

#[test]
fn a_decision_that_never_ends_is_stopped() {
    built_in_rules_decide(&all_decisions(LOOP), "it ran for more than");
}

/// Runs an endless loop within these bounds.
fn what_stops_a_loop(bounds: Bounds) -> Cause {
    let policy = Guest::default().export("plan-sync", LOOP).load().unwrap();
    let facts = sync_facts();
    let (answer, _) = policy.decide(bounds, |asked, store| asked.plan_sync(store, &facts));
    answer.unwrap_err().cause
}

#[test]
fn fuel_alone_and_time_alone_end_an_endless_loop() {
    let little_fuel = Bounds {
        fuel: 1_000_000,
        deadline: Duration::from_secs(20),
        ..DECISION
    };
    let cause = what_stops_a_loop(little_fuel);
    assert!(matches!(cause, Cause::Fuel(1_000_000)), "{cause}");
    let little_time = Bounds {
        fuel: u64::MAX,
        deadline: Duration::from_millis(30),
        ..DECISION
    };
    let cause = what_stops_a_loop(little_time);
    assert!(matches!(cause, Cause::Deadline(_)), "{cause}");
}

#[test]
fn more_calls_at_a_time_than_the_pool_has_places_wait_for_one() {
    // It takes as much of its place as it may.
    let body = "(drop (memory.grow (i32.const 400))) (loop (br 0)) (unreachable)";
    let guest = Guest::default().item("(memory $more 64)");
    let policy = guest.export("plan-sync", body).load().unwrap();
    let bounds = Bounds {
        deadline: Duration::from_millis(30),
        ..DECISION
    };
    let ask = || {
        let facts = sync_facts();
        let (answer, _) = policy.decide(bounds, |asked, store| asked.plan_sync(store, &facts));
        answer.unwrap_err().cause
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3 * RUNNING_MAX).map(|_| scope.spawn(ask)).collect();
        for thread in asked {
            let cause = thread.join().unwrap();
            assert!(matches!(cause, Cause::Deadline(_)), "{cause}");
        }
    });
}

#[test]
fn clock_and_randomness_are_the_same_in_every_call() {
    let patient = SyncFacts {
        sync_interval_ms: u64::MAX,
        ..sync_facts()
    };
    let answers = |import: &str| {
        let guest = Guest::default().item(import);
        let policy = guest.export("plan-sync", "(call $get)").policy();
        let answers = [policy.plan_sync(&patient), policy.plan_sync(&patient)];
        assert_eq!(policy.stats().failures, 0);
        answers
    };
    let now = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $get (result i64)))"#;
    assert_eq!(answers(now), [0, 0]);
    let random = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $get (result i64)))"#;
    let [first, second] = answers(random);
    assert_eq!(first, second);
}

#[test]
fn a_decision_that_takes_all_memory_is_stopped_at_the_limit() {
    built_in_rules_decide(&all_decisions(BOMB), "it wanted more than 32 MiB of memory");
}

#[test]
fn a_decision_that_grows_a_table_is_stopped_at_the_limit() {
    let body = "(loop (br_if 0 (i32.ne (table.grow $table (ref.null func) (i32.const 1000))
        (i32.const -1)))) (unreachable)";
    let guest = all_decisions(body).item("(table $table 1 funcref)");
    built_in_rules_decide(&guest, "or too large a table");
}

#[test]
fn a_decision_that_traps_is_replaced() {
    built_in_rules_decide(&all_decisions("(unreachable)"), "`unreachable`");
}

#[test]
fn a_decision_that_recurses_without_end_is_stopped() {
    let guest = all_decisions("(call $deeper) (unreachable)")
        .item("(func $deeper (call $deeper) (call $deeper))");
    built_in_rules_decide(&guest, "it used up its stack");
}

#[test]
fn a_decision_that_exits_is_replaced() {
    let guest = all_decisions("(call $exit (i32.const 0)) (unreachable)")
        .item(r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#);
    built_in_rules_decide(&guest, "it exited instead of answering");
}

#[test]
fn a_decision_cannot_wait_in_the_host() {
    let wait = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
        (func $wait (param i64) (result i32)))"#;
    let guest = all_decisions("(drop (call $wait (i64.const -1))) (unreachable)").item(wait);
    built_in_rules_decide(&guest, "it waits for a clock");
}

/// Prints two lines, one of which would clear a terminal.
const PRINT: &str =
    "(call $write (call $stderr) (i32.const 512) (i32.const 12) (i32.const 600)) (unreachable)";

fn with_stderr(guest: Guest) -> Guest {
    guest
        .item(r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))"#)
        .item(
            r#"(import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))"#,
        )
        .item(r#"(data (i32.const 512) "panic\n\1b[2Jat")"#)
}

#[test]
fn what_a_decision_printed_before_it_trapped_is_logged_on_one_line() {
    let guest = with_stderr(all_decisions(PRINT));
    built_in_rules_decide(&guest, "it printed: panic\\u{a}\\u{1b}[2Jat");
}

#[test]
fn what_a_component_printed_while_it_read_a_configuration_is_not_kept() {
    let guest = with_stderr(Guest::default().export("validate", PRINT));
    let error = guest.load().unwrap().validate("", &[]).unwrap_err();
    assert!(!error.to_string().contains("panic"), "{error}");
}

#[tokio::test]
async fn a_component_that_prints_can_be_loaded_and_used_where_a_runtime_runs() {
    let guest = with_stderr(Guest::default().export("metadata", PRINT));
    let error = guest.load().unwrap_err().to_string();
    assert!(error.contains("it printed: panic"), "{error}");
    let guest = with_stderr(Guest::default().export("validate", PRINT));
    let error = guest.load().unwrap().validate("", &[]).unwrap_err();
    assert!(error.to_string().contains("`unreachable`"), "{error}");
}

#[test]
fn an_answer_that_does_not_lie_in_memory_is_refused() {
    let guest = Guest::default()
        .item(r#"(data (i32.const 300) "\01\00\00\00\00\00\00\00\ff\ff\ff\7f")"#)
        .export("plan-snapshot", "(i32.const 300)");
    let policy = guest.policy();
    assert!(policy.plan_snapshot(&snapshot_facts()).is_some());
    assert_eq!(policy.stats().failures, 1);
}

#[test]
fn an_answer_of_many_megabytes_is_not_copied() {
    let text = "(drop (memory.grow (i32.const 400)))
        (i32.store (i32.const 300) (i32.const 1))
        (i32.store (i32.const 308) (i32.const 20000000))
        (i32.const 300)";
    let policy = Guest::default().export("plan-snapshot", text).policy();
    let log = logged(|| {
        assert!(policy.plan_snapshot(&snapshot_facts()).is_some());
    });
    assert!(log.contains("it passed more than 1048576 bytes"), "{log}");
    assert_eq!(policy.stats().failures, 1);
}

#[track_caller]
fn is_too_large_a_plan(validate: &str) {
    let guest = Guest::default().export("validate", validate);
    let error = guest.load().unwrap().validate("", &[]).unwrap_err();
    let because = "it passed more than 16777216 bytes";
    assert!(error.to_string().contains(because), "{error}");
}

/// 1600 diagnostics whose messages are the same 64 KiB: 100 MiB, if each got a copy.
#[test]
fn diagnostics_that_share_their_text_are_not_copied_each() {
    let body = "(local $i i32) (local $at i32)
        (i32.store (i32.const 132) (i32.const 0x20000))
        (i32.store (i32.const 136) (i32.const 1600))
        (local.set $at (i32.const 0x20000))
        (loop
            (i32.store offset=36 (local.get $at) (i32.const 0x10000))
            (local.set $at (i32.add (local.get $at) (i32.const 52)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 1600))))
        (i32.const 128)";
    is_too_large_a_plan(body);
}

/// A million settings that are all zeroes: 24 MiB there, more than twice as much here.
#[test]
fn a_plan_with_a_million_settings_is_refused() {
    let body = "(drop (memory.grow (i32.const 400)))
        (i32.store8 (i32.const 128) (i32.const 0))
        (i32.store (i32.const 140) (i32.const 0x20000))
        (i32.store (i32.const 144) (i32.const 1000000))
        (i32.const 128)";
    is_too_large_a_plan(body);
}

#[test]
fn a_validation_that_misbehaves_is_an_error_that_says_how() {
    for (body, because) in [
        (LOOP, "it ran for more than"),
        (BOMB, "it wanted more than 32 MiB of memory"),
        ("(unreachable)", "`unreachable`"),
    ] {
        let policy = Guest::default().export("validate", body).load().unwrap();
        let error = policy.validate("dbs: []", &["file"]).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        let error = error.to_string();
        assert!(error.contains("test"), "{error}");
        assert!(error.contains(because), "{because:?} is not in {error}");
    }
}

#[test]
fn a_plan_that_comes_with_an_error_is_none() {
    // The plan's third list holds one diagnostic of zeroes: an error without a text.
    let body = "(i32.store8 (i32.const 128) (i32.const 0))
        (i32.store (i32.const 148) (i32.const 1024))
        (i32.store (i32.const 152) (i32.const 1))
        (i32.const 128)";
    let policy = Guest::default().export("validate", body).load().unwrap();
    let found = policy.validate("", &[]).unwrap();
    assert!(!found.is_valid());
    assert_eq!(found.diagnostics().len(), 1);
}

#[test]
fn a_component_that_does_not_say_who_it_is_does_not_load() {
    for (body, because) in [
        (LOOP, "it ran for more than"),
        (BOMB, "it wanted more than 32 MiB of memory"),
        ("(unreachable)", "`unreachable`"),
    ] {
        let error = Guest::default().export("metadata", body).load();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(because), "{because:?} is not in {error}");
    }
}

#[test]
fn a_component_that_never_finishes_starting_does_not_load() {
    let guest = Guest::default().item("(func $start (loop (br 0))) (start $start)");
    let error = guest.load().unwrap_err().to_string();
    assert!(error.contains("it ran for more than"), "{error}");
}

#[test]
fn a_component_that_begins_with_too_much_memory_does_not_load() {
    let guest = Guest::default().item("(memory $more 513)");
    let error = guest.load().unwrap_err().to_string();
    assert!(error.contains("it wanted more than 32 MiB"), "{error}");
}

#[test]
fn three_failures_in_a_row_set_the_component_aside_and_raise_an_alarm() {
    let policy = Guest::default()
        .export("plan-sync", "(unreachable)")
        .policy();
    let log = logged(|| {
        for _ in 0..10 {
            assert_eq!(policy.plan_sync(&sync_facts()), 700);
            // This one works, and does not make up for the other.
            let checkpoint = policy.plan_checkpoint(&checkpoint_facts());
            let rest = policy.stats().set_aside;
            let expected = if rest {
                CheckpointProposal::Passive
            } else {
                CheckpointProposal::None
            };
            assert_eq!(checkpoint, expected);
        }
    });
    let stats = policy.stats();
    assert_eq!(stats.failures, u64::from(STRIKES_MAX));
    assert!(stats.set_aside);
    let alarms = log.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(alarms, 1, "{log}");
    assert!(
        log.contains("plan-sync") && log.contains("`unreachable`"),
        "{log}"
    );
}

#[test]
fn a_failure_leaves_nothing_behind_for_the_next_call() {
    // The first call leaves a mark in its memory; the next one would see it and trap.
    let body = "(if (i32.load (i32.const 512)) (then (unreachable)))
        (i32.store (i32.const 512) (i32.const 1))
        (i64.const 123)";
    let policy = Guest::default().export("plan-sync", body).policy();
    for _ in 0..3 {
        assert_eq!(policy.plan_sync(&sync_facts()), 123);
    }
    assert_eq!(policy.stats().failures, 0);
}

#[test]
fn an_endless_wait_is_cut_to_the_sync_interval() {
    let policy = Guest::default()
        .export("plan-sync", "(i64.const -1)")
        .policy();
    let log = logged(|| assert_eq!(policy.plan_sync(&sync_facts()), 1000));
    assert!(log.contains("sync-too-late"), "{log}");
    let stats = policy.stats();
    assert_eq!((stats.failures, stats.clamps), (0, 1));
}

#[test]
fn a_flood_of_log_lines_is_cut() {
    let body = "(local $i i32)
        (loop
            (call $log (i32.const 0) (i32.const 512) (i32.const 10))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 10000))))
        (i64.const 60)";
    let guest = Guest::default()
        .item(LOG)
        .item(r#"(data (i32.const 512) "a\nERROR \1bb")"#)
        .export("plan-sync", body);
    let policy = guest.policy();
    let log = logged(|| assert_eq!(policy.plan_sync(&sync_facts()), 60));
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(lines.len(), 20, "{log}");
    assert!(lines[0].contains("a\\u{a}ERROR \\u{1b}b"), "{}", lines[0]);
}

#[test]
fn a_log_line_of_many_megabytes_is_not_copied() {
    let body = "(drop (memory.grow (i32.const 400)))
        (call $log (i32.const 0) (i32.const 0) (i32.const 20000000)) (i64.const 1)";
    let guest = Guest::default().item(LOG).export("plan-sync", body);
    let policy = guest.policy();
    let log = logged(|| assert_eq!(policy.plan_sync(&sync_facts()), 700));
    assert!(log.contains("it passed more than 1048576 bytes"), "{log}");
}

#[test]
fn a_component_that_reads_a_configuration_cannot_log_it() {
    let body = "(call $log (i32.const 0) (local.get 0) (local.get 1)) (unreachable)";
    let guest = Guest::default().item(LOG).export("validate", body);
    let policy = guest.load().unwrap();
    let log = logged(|| {
        let error = policy.validate("canary-7f3a", &[]).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    });
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn every_export_is_one_that_these_tests_know() {
    assert!(exports().eq([
        "metadata",
        "validate",
        "plan-sync",
        "plan-checkpoint",
        "plan-snapshot",
        "plan-verification",
        "plan-compaction",
        "plan-retention",
        "plan-holds",
        "approve-restore",
        "on-event"
    ]));
}

#[test]
fn a_policy_that_keeps_nothing_deletes_nothing_that_is_needed() {
    let policy = Guest::default().policy();
    let inventory = inventory();
    let deletions = policy.plan_retention(&Review::new(situation(&inventory)).unwrap());
    assert_eq!(
        deleted(&deletions),
        ["0000000000000001-0000000000000001.ltx"]
    );
    let stats = policy.stats();
    assert_eq!(
        (stats.failures, stats.clamps),
        (0, 3),
        "the other three files"
    );
}
