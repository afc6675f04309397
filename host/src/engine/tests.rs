//! The engine end to end, on real databases and a file replica.

use std::path::Path;

use lockkeeper_ltx::{Level, PageEncoding};
use rusqlite::Connection;
use tempfile::TempDir;

use super::watch::LogWatcher;
use super::*;
use crate::policy::Policy;
use crate::policy::testing::Guest;
use crate::restore::{RestoreOptions, restore};
use crate::settings::DatabaseSettings;
use crate::store::Replica;

const DEADLINE: Duration = Duration::from_secs(30);

fn application(dir: &Path) -> Connection {
    let app = Connection::open(dir.join("app.db")).unwrap();
    app.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    app.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    app.busy_timeout(Duration::from_secs(5)).unwrap();
    app.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x BLOB)")
        .unwrap();
    app
}

fn start(dir: &Path, change: impl FnOnce(&mut DatabaseSettings)) -> Lockkeeper {
    start_with(Policy::built_in(), dir, change)
}

fn start_with(
    policy: Policy,
    dir: &Path,
    change: impl FnOnce(&mut DatabaseSettings),
) -> Lockkeeper {
    let mut settings = DatabaseSettings::new(dir.join("app.db"));
    settings.sync_interval = Duration::from_millis(50);
    change(&mut settings);
    let replica = Replica::file(dir.join("replica")).unwrap();
    Lockkeeper::spawn(vec![Database {
        shared: Arc::new(DatabaseShared::new(
            settings.path.clone(),
            replica.store().describe(),
        )),
        settings,
        replica,
        policy,
        encoding: PageEncoding::Block,
        watcher: Arc::new(LogWatcher::new()),
    }])
    .unwrap()
}

fn insert(app: &Connection) {
    app.execute("INSERT INTO t (x) VALUES (randomblob(500))", [])
        .unwrap();
}

fn rows(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    let check: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    db.query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

async fn restored_rows(dir: &Path) -> i64 {
    let output = tempfile::tempdir().unwrap();
    let path = output.path().join("restored.db");
    let replica = Replica::file(dir.join("replica")).unwrap();
    restore(&replica, RestoreOptions::new(&path)).await.unwrap();
    rows(&path)
}

fn fixture() -> (TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let app = application(dir.path());
    (dir, app)
}

#[tokio::test]
async fn what_was_committed_before_a_sync_is_in_the_replica_after_it() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    for expected in 1..=20 {
        insert(&app);
        keeper.sync().await.unwrap();
        assert_eq!(restored_rows(dir.path()).await, expected);
    }
    let status = keeper.status();
    assert_eq!(status.databases[0].state, DatabaseState::Replicating);
    assert_eq!(status.databases[0].spooled, status.databases[0].durable);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_stop_flushes_and_a_new_start_goes_on_with_increments() {
    let (dir, app) = fixture();
    for round in 1..=3 {
        let keeper = start(dir.path(), |_| {});
        insert(&app);
        keeper.stop(DEADLINE).await.unwrap();
        assert_eq!(restored_rows(dir.path()).await, round);
    }
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let sizes: Vec<u64> = replica
        .list(Level::L0)
        .await
        .unwrap()
        .iter()
        .map(|file| file.size)
        .collect();
    assert!(sizes.len() >= 3, "{sizes:?}");
}

#[tokio::test]
async fn commits_are_sent_without_being_asked_for_and_a_snapshot_is_taken() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |settings| {
        settings.monitor_interval = Duration::from_millis(100)
    });
    for _ in 0..50 {
        insert(&app);
    }
    let mut durable = keeper.databases[0].shared.subscribe_durable();
    durable.wait_for(Option::is_some).await.unwrap();
    while keeper.status().databases[0].snapshot.is_none() {
        tokio::time::timeout(DEADLINE, durable.changed()).await.ok();
        insert(&app);
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(
        restored_rows(dir.path()).await,
        rows(&dir.path().join("app.db"))
    );
}

#[tokio::test]
async fn checkpoints_under_load_lose_nothing_and_keep_the_log_small() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |settings| settings.min_checkpoint_pages = 50);
    for _ in 0..2000 {
        insert(&app);
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 2000);
}

#[tokio::test]
async fn a_lost_state_directory_is_replaced_by_what_the_replica_says() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.stop(DEADLINE).await.unwrap();
    std::fs::remove_dir_all(dir.path().join(".app.db-litestream")).unwrap();
    insert(&app);
    let keeper = start(dir.path(), |_| {});
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 2);
}

#[tokio::test]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = start(dir.path(), |_| {});
    assert!(keeper.sync().await.is_err());
    assert!(matches!(
        keeper.status().databases[0].state,
        DatabaseState::Failing(_)
    ));
    let app = application(dir.path());
    insert(&app);
    while keeper.sync().await.is_err() {
        tokio::task::yield_now().await;
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 1);
}

#[tokio::test]
async fn replication_goes_on_under_a_policy_that_never_answers() {
    let (dir, app) = fixture();
    let endless = "(loop (br 0)) (unreachable)";
    let policy = Guest::default()
        .export("plan-sync", endless)
        .export("plan-checkpoint", endless)
        .export("plan-snapshot", endless)
        .policy();
    let keeper = start_with(policy.clone(), dir.path(), |_| {});
    for expected in 1..=5 {
        insert(&app);
        keeper.sync().await.unwrap();
        assert_eq!(restored_rows(dir.path()).await, expected);
    }
    // The first snapshot comes although nobody proposed it.
    let mut durable = keeper.databases[0].shared.subscribe_durable();
    while keeper.status().databases[0].snapshot.is_none() {
        insert(&app);
        tokio::time::timeout(DEADLINE, durable.changed()).await.ok();
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert!(policy.stats().failures >= 3, "{:?}", policy.stats());
    assert!(policy.stats().set_aside);
    assert_eq!(
        restored_rows(dir.path()).await,
        rows(&dir.path().join("app.db"))
    );
}
