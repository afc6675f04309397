//! What a policy says about restores, holds and events reaches what it is about.

use super::*;
use crate::{ErrorKind, policy};

/// An answer that is a list of one record, whose first bytes these are; "test" lies at 64.
fn one_record(decision: &'static str, bytes: &str) -> Guest {
    Guest::default()
        .item(r#"(data (i32.const 400) "\00\02\00\00\01\00\00\00")"#)
        .item(&format!(r#"(data (i32.const 512) "{bytes}")"#))
        .export(decision, "(i32.const 400)")
}

/// Says no, and why: "test".
fn refusing() -> Guest {
    Guest::default()
        .item(r#"(data (i32.const 400) "\01\00\00\00\40\00\00\00\04\00\00\00")"#)
        .export("approve-restore", "(i32.const 400)")
}

/// Waits until the status is as it must be.
async fn until(keeper: &Lockkeeper, is_so: impl Fn(&Status) -> bool) -> Status {
    let waiting = async {
        loop {
            let status = keeper.status();
            if is_so(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, waiting).await;
    found.unwrap_or_else(|_| panic!("{:?}", keeper.status()))
}

fn quick(dir: &Path) -> Entry {
    Entry::File(settings(dir, |settings| {
        settings.monitor_interval = Duration::from_millis(5);
        settings.life.l0_retention_check = Duration::from_millis(10);
    }))
}

#[tokio::test]
async fn what_a_policy_holds_is_in_the_status() {
    let (dir, app) = fixture();
    insert(&app);
    // At the end of time: the newest transaction.
    let bytes = r"\ff\ff\ff\ff\ff\ff\ff\00\40\00\00\00\04\00\00\00";
    let policy = one_record("plan-holds", bytes).policy();
    let keeper = start_with(policy, quick(dir.path()));
    keeper.sync().await.unwrap();
    let status = until(&keeper, |status| {
        let held = status.databases[0].held.first();
        held.is_some_and(|held| held.txid.is_some())
    });
    let held = &status.await.databases[0].held[0];
    assert_eq!(held.reason, "test");
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn nothing_is_deleted_while_a_policy_does_not_say_what_it_holds_and_people_are_told() {
    let (dir, app) = fixture();
    insert(&app);
    let policy = Guest::default()
        .export("plan-holds", "(unreachable)")
        // An error that keeps nothing quiet.
        .item(r#"(data (i32.const 400) "\00\02\00\00\01\00\00\00")"#)
        .item(r#"(data (i32.const 512) "\00\00\00\00\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00")"#)
        .export("on-event", "(i32.const 400)")
        .policy();
    let keeper = start_with(policy, quick(dir.path()));
    keeper.sync().await.unwrap();
    let told = until(&keeper, |status| {
        status.databases[0].deletion_paused.is_some() && !status.alerts.is_empty()
    });
    let status = told.await;
    let why = status.databases[0].deletion_paused.as_deref().unwrap();
    assert!(why.contains("does not say which points are held"), "{why}");
    let alert = &status.alerts[0];
    assert_eq!(
        (alert.database.as_str(), alert.code.as_str()),
        ("app.db", "test")
    );
    assert_eq!(alert.severity, policy::Severity::Error);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_prints_while_files_could_be_merged_or_deleted_harms_nobody() {
    let (dir, app) = fixture();
    insert(&app);
    let print = "(call $write (call $stderr) (i32.const 64) (i32.const 4) (i32.const 600))
        (unreachable)";
    let guest = Guest::default()
        .item(r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))"#)
        .item(
            r#"(import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))"#,
        )
        .export("plan-compaction", print)
        .export("plan-holds", print)
        .export("plan-retention", print)
        .export("on-event", print);
    let keeper = start_with(guest.policy(), quick(dir.path()));
    until(&keeper, |status| status.policy.failures > 2).await;
    insert(&app);
    keeper.sync().await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 2);
    keeper.stop(DEADLINE).await.unwrap();
}

/// A replica that another state directory wrote a moment ago.
async fn written_by_another() -> (TempDir, Connection) {
    let (dir, app) = fixture();
    insert(&app);
    let keeper = start(dir.path(), |_| {});
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    let state = crate::spool::default_meta_path(&dir.path().join("app.db"));
    std::fs::remove_dir_all(state).unwrap();
    (dir, app)
}

#[tokio::test]
async fn a_policy_can_protect_a_replica_from_being_taken_over() {
    let (dir, _app) = written_by_another().await;
    let keeper = start_with(refusing().policy(), quick(dir.path()));
    let refused = until(&keeper, |status| {
        matches!(status.databases[0].state, DatabaseState::Failing(_))
    });
    let state = format!("{:?}", refused.await.databases[0].state);
    assert!(
        state.contains("does not let") && state.contains("test"),
        "{state}"
    );
    assert_eq!(keeper.status().databases[0].durable, None);
    drop(keeper);

    let keeper = start_with(Guest::default().policy(), quick(dir.path()));
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_policy_can_refuse_to_restore_a_missing_database() {
    let (dir, app) = fixture();
    insert(&app);
    let keeper = start(dir.path(), |_| {});
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    drop(app);
    let database = dir.path().join("app.db");
    std::fs::remove_file(&database).unwrap();
    let config = "dbs: [{path: app.db, replica: {path: replica}}]";
    let builder = Lockkeeper::builder().config(config).base_dir(dir.path());
    let configuration = builder.read().unwrap();
    let start = |guest: Guest| {
        Lockkeeper::builder()
            .configuration(configuration.clone())
            .policy(policy::PolicySource::Bytes(guest.build()))
            .restore_if_missing(true)
            .trace(policy::trace::TraceSettings::new(dir.path().join("trace")))
            .start()
    };
    let error = start(refusing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("be restored: test"), "{error}");
    assert!(!database.exists());
    let record = policies::recorded(&dir.path().join("trace"), "approve-restore").await;
    assert_eq!(record.database, database.to_string_lossy());
    assert_eq!(record.outcome, "do not go on: test");
    let keeper = start(Guest::default()).await.unwrap();
    assert_eq!(rows(&database), 1);
    keeper.stop(DEADLINE).await.unwrap();
}
