//! Components that take each other's place.

use std::path::Path;
use std::time::Duration;

use lockkeeper_core::decision::Facts;
use lockkeeper_core::policy::SyncFacts;
use tempfile::TempDir;

use super::super::testing::{Gate, Guest};
use super::super::trace::{Answer, Record, TraceReader, TraceSettings, hash};
use super::super::*;
use crate::ErrorKind;
use crate::config::{ConfigStore, KeyFile, KeyFileCheck};

/// A component whose syncs wait so many milliseconds.
fn waits(ms: u32) -> Guest {
    Guest::default().export("plan-sync", &format!("(i64.const {ms})"))
}

fn facts() -> SyncFacts {
    SyncFacts {
        sync_interval_ms: 1000,
        ..SyncFacts::default()
    }
}

fn start(guest: &Guest) -> Policy {
    Policy::start(guest.load().unwrap(), None, None).unwrap()
}

fn wanted(guest: &Guest) -> Installation {
    Installation {
        shadow_decisions: 1,
        shadow_time: Duration::from_secs(60),
        ..Installation::new(PolicySource::Bytes(guest.build()))
    }
}

/// Refuses to install; what decided before does so on, and the alarm says why.
async fn is_refused(policy: &Policy, wanted: Installation, because: &str) {
    let before = policy.plan_sync(&facts());
    let error = policy.install(wanted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(because), "{error}");
    assert_eq!(policy.plan_sync(&facts()), before);
    let alarm = policy.deciding().alarm.unwrap();
    assert!(alarm.contains(because), "{alarm}");
}

#[tokio::test]
async fn a_component_decides_from_the_next_decision_on_and_the_way_back_is_open() {
    let policy = start(&waits(70));
    assert_eq!(policy.plan_sync(&facts()), 70);
    let installed = policy.install(wanted(&waits(80))).await.unwrap();
    assert_eq!(policy.plan_sync(&facts()), 80);
    assert_eq!(installed.shadowed.decisions, 1);
    assert_eq!(installed.shadowed.differed, 1);
    assert_eq!(
        policy.deciding().component,
        Some(installed.component.clone())
    );
    let back = policy.roll_back().unwrap();
    assert_eq!(Some(back), installed.previous);
    assert_eq!(policy.plan_sync(&facts()), 70);
    policy.roll_back().unwrap();
    assert_eq!(policy.plan_sync(&facts()), 80);
}

#[tokio::test]
async fn the_way_back_leads_to_the_one_before_and_no_further() {
    let policy = start(&waits(70));
    for ms in [80, 90] {
        policy.plan_sync(&facts());
        policy.install(wanted(&waits(ms))).await.unwrap();
    }
    policy.roll_back().unwrap();
    assert_eq!(policy.plan_sync(&facts()), 80);
    policy.roll_back().unwrap();
    assert_eq!(policy.plan_sync(&facts()), 90);
}

#[tokio::test]
async fn what_a_candidate_would_have_done_otherwise_is_counted_and_what_the_guard_would_change() {
    let policy = start(&waits(70));
    policy.plan_sync(&facts());
    policy.plan_sync(&facts());
    let two = |guest: &Guest| Installation {
        shadow_decisions: 2,
        ..wanted(guest)
    };
    let same = waits(70).item("(func)");
    let shadowed = policy.install(two(&same)).await.unwrap().shadowed;
    assert_eq!(shadowed.decisions, 2);
    assert_eq!((shadowed.differed, shadowed.clamped), (0, 0));
    // More than the sync interval.
    let shadowed = policy.install(two(&waits(2000))).await.unwrap().shadowed;
    assert_eq!((shadowed.differed, shadowed.clamped), (2, 2));
}

#[tokio::test]
async fn failures_of_the_one_before_do_not_set_the_next_aside() {
    let traps = Guest::default().export("plan-sync", "(unreachable)");
    let policy = start(&traps);
    for _ in 0..3 {
        policy.plan_sync(&facts());
    }
    assert!(policy.stats().set_aside);
    policy.install(wanted(&waits(80))).await.unwrap();
    assert!(!policy.stats().set_aside);
    assert_eq!(policy.plan_sync(&facts()), 80);
}

#[tokio::test]
async fn a_way_back_ends_the_alarm_of_what_was_refused() {
    let policy = start(&waits(70));
    policy.plan_sync(&facts());
    policy.install(wanted(&waits(80))).await.unwrap();
    let traps = Guest::default().export("plan-retention", "(unreachable)");
    is_refused(&policy, wanted(&traps), "keeps of a small replica").await;
    policy.roll_back().unwrap();
    assert_eq!(policy.deciding().alarm, None);
}

#[tokio::test]
async fn installing_what_decides_already_keeps_the_way_back() {
    let policy = start(&waits(70));
    policy.plan_sync(&facts());
    policy.install(wanted(&waits(80))).await.unwrap();
    policy.install(wanted(&waits(80))).await.unwrap();
    policy.roll_back().unwrap();
    assert_eq!(policy.plan_sync(&facts()), 70);
}

#[tokio::test]
async fn without_an_installation_there_is_no_way_back() {
    let error = start(&waits(70)).roll_back().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_component_that_fails_the_self_test_is_refused() {
    let policy = start(&waits(70));
    let traps = Guest::default().export("plan-retention", "(unreachable)");
    is_refused(&policy, wanted(&traps), "keeps of a small replica").await;
    // Sixteen keeps of zeroes, which name nothing.
    let unreadable = Guest::default().export(
        "plan-retention",
        "(i32.store (i32.const 256) (i32.const 1024))
         (i32.store (i32.const 260) (i32.const 16))
         (i32.const 256)",
    );
    is_refused(&policy, wanted(&unreadable), "cannot be meant").await;
    policy.install(wanted(&waits(80))).await.unwrap();
    assert_eq!(policy.deciding().alarm, None);
}

#[tokio::test]
async fn a_component_that_fails_beside_the_current_one_is_refused() {
    let policy = start(&waits(70));
    // Of all questions, it cannot answer the one of this application.
    let traps = Guest::default().export(
        "plan-sync",
        "(if (i64.eq (local.get 12) (i64.const 777)) (then unreachable)) (i64.const 1)",
    );
    let mine = SyncFacts {
        sync_interval_ms: 777,
        ..facts()
    };
    policy.plan_sync(&mine);
    is_refused(
        &policy,
        wanted(&traps),
        "beside the current one, asked plan-sync",
    )
    .await;
}

#[tokio::test]
async fn a_component_of_another_digest_than_the_pinned_one_is_refused() {
    let policy = start(&waits(70));
    let pinned = waits(80).load().unwrap();
    let other = Installation {
        sha256: Some(pinned.digest().into()),
        ..wanted(&waits(90))
    };
    is_refused(&policy, other, "has the SHA-256").await;
    let same = Installation {
        sha256: Some(pinned.digest().to_uppercase()),
        ..wanted(&waits(80))
    };
    policy.install(same).await.unwrap();
    assert_eq!(policy.plan_sync(&facts()), 80);
}

#[tokio::test]
async fn an_application_that_decides_nothing_does_not_hold_an_installation_up() {
    let policy = start(&waits(70));
    let patient = Installation {
        shadow_time: Duration::ZERO,
        ..wanted(&waits(80))
    };
    let installed = policy.install(patient).await.unwrap();
    assert_eq!(installed.shadowed.decisions, 0);
    assert_eq!(policy.plan_sync(&facts()), 80);
}

#[test]
fn a_policy_that_reads_no_configuration_leaves_it_to_the_embedded_one() {
    let policy = Guest::default().load().unwrap();
    let reads = |text: &str| policy.validate(text, &["file"]).unwrap();
    assert!(reads("dbs:\n  - path: app.db\n    replica: {path: backup}\n").is_valid());
    let found = reads("dbs: 7\n");
    assert!(!found.is_valid() && !found.diagnostics().is_empty());
}

/// A store with one key.
fn store(dir: &Path) -> StoredPolicies {
    let key = dir.join("key");
    if !key.exists() {
        KeyFile::generate().write(&key).unwrap();
    }
    let identities = || KeyFile::read(&key, KeyFileCheck::Strict).unwrap();
    let database = dir.join("app.db");
    if !database.exists() {
        ConfigStore::create(&database, &identities()).unwrap();
    }
    StoredPolicies::new(database, identities())
}

fn save(dir: &Path, guest: &Guest) {
    store(dir)
        .save(&PolicySource::Bytes(guest.build()), "test")
        .unwrap();
}

#[tokio::test]
async fn a_new_generation_of_the_store_decides_after_a_reload_and_a_rollback_undoes_it() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &waits(80));
    let component = waits(70).load().unwrap();
    let policy = Policy::start(component, None, Some(store(dir.path()))).unwrap();
    assert_eq!(policy.plan_sync(&facts()), 70);
    assert!(policy.reload().await.unwrap().is_some());
    assert_eq!(policy.plan_sync(&facts()), 80);
    assert!(
        policy.reload().await.unwrap().is_none(),
        "it decides already"
    );
    save(dir.path(), &waits(90));
    policy.reload().await.unwrap();
    assert_eq!(policy.plan_sync(&facts()), 90);
    store(dir.path()).roll_back(1).unwrap();
    policy.reload().await.unwrap();
    assert_eq!(policy.plan_sync(&facts()), 80);
}

#[tokio::test]
async fn a_component_that_fails_the_self_test_is_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let traps = Guest::default().export("plan-retention", "(unreachable)");
    let source = PolicySource::Bytes(traps.build());
    let error = store(dir.path()).save(&source, "test").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(store(dir.path()).get(0).unwrap().is_none());
}

#[tokio::test]
async fn a_generation_that_whoever_writes_to_the_database_may_have_put_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &waits(80));
    let database = rusqlite::Connection::open(dir.path().join("app.db")).unwrap();
    database
        .execute_batch("DELETE FROM lockkeeper_config_seals")
        .unwrap();
    let policy = Policy::start(waits(70).load().unwrap(), None, Some(store(dir.path()))).unwrap();
    let error = policy.reload().await.unwrap_err();
    assert!(error.to_string().contains("has no seal"), "{error}");
    assert_eq!(policy.plan_sync(&facts()), 70);
    let alarm = policy.deciding().alarm.unwrap();
    assert!(alarm.contains("has no seal"), "{alarm}");
}

#[tokio::test]
async fn a_start_takes_the_newest_generation_that_works_and_says_what_is_wrong_with_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (none, why) = store(dir.path()).last_good();
    assert!(none.is_none() && why.is_none());
    save(dir.path(), &waits(80));
    let key = KeyFile::read(dir.path().join("key"), KeyFileCheck::Strict).unwrap();
    let saved = ConfigStore::open(dir.path().join("app.db")).unwrap();
    saved
        .save(&key, POLICY_SCOPE, b"no component", POLICY_FORMAT, "test")
        .unwrap();
    let (component, why) = store(dir.path()).last_good();
    assert_eq!(
        component.unwrap().digest(),
        waits(80).load().unwrap().digest()
    );
    let why = why.unwrap();
    assert!(
        why.starts_with("generation 0 of the stored policies"),
        "{why}"
    );
    let policy = Policy::start(waits(70).load().unwrap(), None, Some(store(dir.path()))).unwrap();
    policy.reload().await.unwrap_err();
    assert_eq!(policy.plan_sync(&facts()), 70);
    assert!(policy.deciding().alarm.is_some());
}

#[test]
fn a_start_leaves_out_a_generation_that_fails_the_self_test() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &waits(80));
    let key = KeyFile::read(dir.path().join("key"), KeyFileCheck::Strict).unwrap();
    let traps = Guest::default().export("plan-retention", "(unreachable)");
    ConfigStore::open(dir.path().join("app.db"))
        .unwrap()
        .save(&key, POLICY_SCOPE, &traps.build(), POLICY_FORMAT, "test")
        .unwrap();
    let (component, why) = store(dir.path()).last_good();
    let expected = waits(80).load().unwrap();
    assert_eq!(component.unwrap().digest(), expected.digest());
    let why = why.unwrap();
    assert!(why.contains("keeps of a small replica"), "{why}");
}

/// What is recorded of `policy` once it and its thread have ended.
fn recorded(policy: Policy, dir: &TempDir, count: usize) -> Vec<Record> {
    drop(policy);
    let begin = std::time::Instant::now();
    loop {
        let records: Vec<Record> = TraceReader::open(dir.path())
            .map(Iterator::collect)
            .unwrap_or_default();
        if records.len() >= count {
            return records;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{} records",
            records.len()
        );
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn the_trace_says_who_decided_what_and_the_same_component_decides_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let trace = TraceSettings::new(dir.path());
    let policy = Policy::start(waits(2000).load().unwrap(), Some(&trace), None).unwrap();
    let policy = policy.for_database("app.db");
    policy.plan_sync(&facts());
    policy.plan_snapshot(&super::snapshot_facts());
    policy.install(wanted(&waits(55))).await.unwrap();
    policy.plan_sync(&facts());
    let records = recorded(policy, &dir, 3);
    let [first, second, third] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(first.database, "app.db");
    assert_eq!(first.facts, Facts::Sync(facts()));
    assert_eq!(first.outcome, "seal in 1000 ms");
    assert_eq!(first.clamps, [("sync-too-late".to_owned(), 1)]);
    assert_eq!(second.clamps, [("snapshot-missing".to_owned(), 1)]);
    assert_eq!(third.outcome, "seal in 55 ms");
    for (record, guest) in [
        (first, waits(2000)),
        (second, waits(2000)),
        (third, waits(55)),
    ] {
        let component = guest.load().unwrap();
        assert_eq!(record.policy, component.digest());
        let asked = component.on_trial(|trial| trial.propose(&record.facts));
        let (proposal, _) = asked.unwrap().unwrap();
        let Answer::Proposed { hash: found, .. } = &record.answer else {
            panic!("{record:?}")
        };
        assert_eq!(*found, hash(&proposal));
    }
}

#[tokio::test]
async fn a_decision_that_is_under_way_when_the_component_changes_ends_as_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let trace = TraceSettings::new(dir.path());
    let gate = Gate::default();
    let log = tracing::dispatcher::Dispatch::new(gate.log());
    let _log = tracing::dispatcher::set_default(&log);
    let old = Guest::default().held_in("plan-sync", "(say) (i64.const 70)");
    let old = old.load().unwrap();
    let policy = Policy::start(old.clone(), Some(&trace), None).unwrap();
    let asked = policy.clone();
    let asked = std::thread::spawn(move || {
        tracing::dispatcher::with_default(&log, || asked.plan_sync(&facts()))
    });
    while !gate.is_holding() {
        std::thread::yield_now();
    }
    let at_once = Installation {
        shadow_decisions: 0,
        ..wanted(&waits(80))
    };
    let new = policy.install(at_once).await.unwrap().component;
    assert_eq!(policy.plan_sync(&facts()), 80, "the next one is of the new");
    assert!(gate.is_holding());
    gate.open();
    asked.join().unwrap();
    // Each is recorded when it ends.
    let records = recorded(policy, &dir, 2);
    let policies: Vec<&str> = records.iter().map(|it| it.policy.as_str()).collect();
    assert_eq!(policies, [new.digest.as_str(), old.digest()]);
}

#[test]
fn the_last_decisions_about_a_database_say_who_made_them() {
    let policy = start(&waits(2000)).for_database("a.db");
    let other = policy.for_database("b.db");
    policy.plan_sync(&facts());
    policy.plan_sync(&facts());
    let [note] = &policy.recent()[..] else {
        panic!("{:?}", policy.recent())
    };
    assert_eq!((note.decision, note.times), ("plan-sync", 2));
    assert_eq!(note.by.as_deref(), Some("test"));
    assert_eq!(note.clamps, ["sync-too-late"]);
    assert_eq!(other.recent(), []);
}
