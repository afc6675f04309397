//! The engine end to end, on real databases and a file replica.

mod directories;
pub(crate) mod hooked;
mod ownership;

use std::path::Path;

use lockkeeper_core::inventory::{Inventory, ReplicaFile};
use lockkeeper_core::live_set::{LiveSet, Need, Window};
use lockkeeper_ltx::{Level, PageEncoding};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

mod bounds;
mod decisions;
mod held;
mod policies;

use crate::policy::Policy;
use crate::policy::testing::Guest;
use crate::restore::{RestoreOptions, restore};
use crate::settings::{DatabaseSettings, DirectorySettings, ReplicaPlace, ReplicaSettings};
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
    start_entry(Entry::File(settings(dir, change)))
}

fn settings(dir: &Path, change: impl FnOnce(&mut DatabaseSettings)) -> DatabaseSettings {
    let replica = ReplicaSettings {
        place: ReplicaPlace::File(dir.join("replica")),
        sync_interval: Duration::from_millis(50),
    };
    let mut settings = DatabaseSettings::new(dir.join("app.db"), replica);
    change(&mut settings);
    settings
}

fn start_entry(entry: Entry) -> Lockkeeper {
    start_with(Policy::built_in(), entry)
}

fn start_with(policy: Policy, entry: Entry) -> Lockkeeper {
    let common = Common { policy, ..common() };
    Lockkeeper::spawn(vec![entry], common, ReplicationLog::current()).unwrap()
}

fn common() -> Common {
    Common {
        policy: Policy::built_in(),
        encoding: PageEncoding::Block,
        watcher: Arc::new(LogWatcher::new()),
    }
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
async fn what_can_be_restored_goes_from_the_oldest_snapshot_to_what_is_durable() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.sync().await.unwrap();
    let first = keeper.snapshot(dir.path().join("app.db")).await.unwrap();
    insert(&app);
    keeper.sync().await.unwrap();
    let status = keeper.status().databases.remove(0);
    let window = status.restorable.unwrap();
    assert!(Some(window.oldest.txid) <= first, "{window:?}");
    assert_eq!(Some(window.newest.txid), status.durable);
    assert!(window.oldest.txid < window.newest.txid, "{window:?}");
    assert!(window.oldest.at <= window.newest.at, "{window:?}");
    insert(&app);
    keeper.sync().await.unwrap();
    let status = keeper.status().databases.remove(0);
    let then = status.restorable.unwrap();
    assert_eq!(then.oldest, window.oldest);
    assert_eq!(Some(then.newest.txid), status.durable);
    assert!(then.newest.txid > window.newest.txid, "{then:?}");
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_database_is_behind_by_what_is_sealed_and_by_what_waits_for_that() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |settings| {
        settings.replica.sync_interval = Duration::from_secs(3600);
    });
    let status = || keeper.status().databases.remove(0);
    insert(&app);
    // None is made while the test looks.
    keeper.snapshot(dir.path().join("app.db")).await.unwrap();
    keeper.sync().await.unwrap();
    assert_eq!(status().behind(), 0);
    insert(&app);
    while !status().unsealed {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status().spooled, status().durable);
    assert_eq!(status().behind(), 1);
    let away = Away::take(dir.path());
    let handle = keeper.fleet.members().remove(0);
    handle.sync(Until::Spooled).await.unwrap();
    assert!(!status().unsealed && status().spooled > status().durable);
    assert_eq!(status().behind(), 1);
    drop(away);
    keeper.sync().await.unwrap();
    assert_eq!(status().behind(), 0);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_verification_that_the_policy_puts_off_is_made_when_it_is_overdue() {
    let (dir, app) = fixture();
    let settings = settings(dir.path(), |settings| {
        settings.life.validation = Some(Duration::from_secs(1));
    });
    let started = std::time::Instant::now();
    // It never wants one.
    let keeper = start_with(Guest::default().policy(), Entry::File(settings));
    insert(&app);
    keeper.sync().await.unwrap();
    let verified = async {
        while keeper.status().databases[0].verified.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let verified = tokio::time::timeout(DEADLINE, verified).await;
    verified.expect("it is verified");
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "the policy was not asked"
    );
    keeper.stop(DEADLINE).await.unwrap();
}

/// Replication that is settled, and that nobody tells of changes any more.
async fn start_unheard(dir: &Path) -> Lockkeeper {
    let watcher = Arc::new(LogWatcher::new());
    let settings = settings(dir, |settings| {
        settings.monitor_interval = Duration::from_millis(5);
    });
    let common = Common {
        watcher: Arc::clone(&watcher),
        ..common()
    };
    let keeper = Lockkeeper::spawn(
        vec![Entry::File(settings)],
        common,
        ReplicationLog::current(),
    )
    .unwrap();
    keeper.snapshot(dir.join("app.db")).await.unwrap();
    watcher.forget_everybody();
    keeper
}

#[tokio::test]
async fn a_database_that_goes_without_anybody_telling_is_missed() {
    let (dir, app) = fixture();
    let keeper = start_unheard(dir.path()).await;
    drop(app);
    // Until it rests; earlier, its next turn would notice in any case.
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::remove_file(dir.path().join("app.db")).unwrap();
    let noticed = async {
        while keeper.status().databases[0].state != DatabaseState::Absent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let noticed = tokio::time::timeout(DEADLINE, noticed).await;
    noticed.expect("it is noticed");
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_nobody_told_of_is_found() {
    let (dir, app) = fixture();
    let keeper = start_unheard(dir.path()).await;
    for _ in 0..3 {
        let mut durable = keeper.fleet.members()[0].shared.subscribe_durable();
        insert(&app);
        let found = tokio::time::timeout(DEADLINE, durable.changed()).await;
        found.expect("it is sent").unwrap();
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 3);
}

#[tokio::test]
async fn a_commit_that_comes_while_another_is_sealed_is_sent() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |settings| {
        settings.replica.sync_interval = Duration::from_millis(5);
        // No tick finds it.
        settings.monitor_interval = Duration::from_secs(3600);
    });
    keeper.snapshot(dir.path().join("app.db")).await.unwrap();
    for round in 1..=40_u32 {
        insert(&app);
        // Into every part of the turn that seals the first.
        tokio::time::sleep(Duration::from_micros(100) * (round % 20)).await;
        insert(&app);
        let sent = async {
            while restored_rows(dir.path()).await != 2 * i64::from(round) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let sent = tokio::time::timeout(DEADLINE, sent).await;
        sent.expect("both are sent");
    }
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
    let mut durable = keeper.fleet.members()[0].shared.subscribe_durable();
    durable.wait_for(|it| it.txid.is_some()).await.unwrap();
    while keeper.status().databases[0].snapshot.is_none() {
        tokio::task::yield_now().await;
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
    // Nothing is committed, so everything is durable.
    keeper.sync().await.unwrap();
    assert_eq!(keeper.status().databases[0].state, DatabaseState::Absent);
    let app = application(dir.path());
    insert(&app);
    keeper.sync().await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 1);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_database_that_never_comes_is_no_error_of_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = start(dir.path(), |_| {});
    keeper.stop(DEADLINE).await.unwrap();
}

/// A replica that can neither be listed nor written: a file stands where its folder was.
struct Away {
    folder: std::path::PathBuf,
    kept: std::path::PathBuf,
}

impl Away {
    fn take(dir: &Path) -> Self {
        let (folder, kept) = (dir.join("replica/ltx"), dir.join("kept"));
        std::fs::rename(&folder, &kept).unwrap();
        std::fs::write(&folder, "").unwrap();
        Self { folder, kept }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        std::fs::remove_file(&self.folder).unwrap();
        std::fs::rename(&self.kept, &self.folder).unwrap();
    }
}

#[tokio::test]
async fn what_is_committed_while_the_replica_is_away_is_sent_when_it_is_back() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.stop(DEADLINE).await.unwrap();
    let away = Away::take(dir.path());
    let keeper = start(dir.path(), |_| {});
    let first = loop {
        let status = keeper.status().databases.remove(0);
        if matches!(status.state, DatabaseState::ReplicaFailing(_)) {
            break status.spooled;
        }
        tokio::task::yield_now().await;
    };
    insert(&app);
    let mut spooled = keeper.fleet.members()[0].shared.subscribe_spooled();
    spooled.wait_for(|txid| *txid > first).await.unwrap();
    drop(away);
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 2);
}

#[tokio::test]
async fn a_lost_local_file_that_was_not_sent_is_made_up_for() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.stop(DEADLINE).await.unwrap();
    let away = Away::take(dir.path());
    let keeper = start(dir.path(), |_| {});
    let mut spooled = keeper.fleet.members()[0].shared.subscribe_spooled();
    let first = *spooled.wait_for(Option::is_some).await.unwrap();
    insert(&app);
    spooled.wait_for(|txid| *txid > first).await.unwrap();
    let lost = first.and_then(lockkeeper_ltx::Txid::next).unwrap();
    let local = dir.path().join(".app.db-litestream/ltx/0");
    std::fs::write(local.join(format!("{lost}-{lost}.ltx")), "damaged").unwrap();
    drop(away);
    while keeper.sync().await.is_err() {
        tokio::task::yield_now().await;
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, 2);
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
    let entry = Entry::File(settings(dir.path(), |_| {}));
    let keeper = start_with(policy, entry);
    for expected in 1..=5 {
        insert(&app);
        keeper.sync().await.unwrap();
        assert_eq!(restored_rows(dir.path()).await, expected);
    }
    // The first snapshot comes although nobody proposed it, and the policy is given up.
    let mut durable = keeper.fleet.members()[0].shared.subscribe_durable();
    let both = async {
        let is_done =
            |status: &Status| status.databases[0].snapshot.is_some() && status.policy.set_aside;
        while !is_done(&keeper.status()) {
            insert(&app);
            durable.changed().await.unwrap();
        }
    };
    let both = tokio::time::timeout(DEADLINE, both).await;
    both.unwrap_or_else(|_| panic!("{:?}", keeper.status()));
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(
        restored_rows(dir.path()).await,
        rows(&dir.path().join("app.db"))
    );
}

/// Everything in milliseconds instead of minutes and hours.
fn hurried(settings: &mut DatabaseSettings) {
    settings.replica.sync_interval = Duration::from_millis(10);
    settings.life = crate::settings::LifeSettings {
        levels: [100, 300].map(Duration::from_millis).to_vec(),
        snapshot_interval: Duration::from_millis(700),
        snapshot_retention: Duration::from_millis(900),
        l0_retention: Duration::from_millis(150),
        l0_retention_check: Duration::from_millis(20),
        ..crate::settings::LifeSettings::default()
    };
}

#[tokio::test]
async fn files_move_through_the_levels_and_every_promised_point_can_be_restored() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), hurried);
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let local = || {
        std::fs::read_dir(dir.path().join(".app.db-litestream/ltx/0"))
            .unwrap()
            .count()
    };
    let mut written = 0;
    // Until all has happened: merges into both levels, deletions at all, and of local files.
    loop {
        insert(&app);
        written += 1;
        assert!(written < 20_000, "files never moved through the levels");
        keeper.sync().await.unwrap();
        let status = keeper.status();
        let durable = status.databases[0].durable.unwrap().get();
        let count = |level| {
            let replica = &replica;
            async move { replica.list(Level::new(level).unwrap()).await.unwrap() }
        };
        let (l0, l1, l2, l9) = (
            count(0).await,
            count(1).await,
            count(2).await,
            count(9).await,
        );
        let has_deleted = (l0.len() as u64) < durable / 2 && (local() as u64) < durable / 2;
        let first_snapshot_is_gone = l9.first().is_some_and(|file| file.range().max().get() > 5);
        if !l1.is_empty() && !l2.is_empty() && has_deleted && first_snapshot_is_gone {
            break;
        }
    }
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(restored_rows(dir.path()).await, written);
    every_promised_point_can_be_restored(&replica).await;
}

/// A file that nobody needs any more may still be there, without those that led to it.
async fn every_promised_point_can_be_restored(replica: &Replica) {
    let inventory = Inventory::new(replica.list_all().await.unwrap());
    let window = Window {
        snapshot_retention_ms: 900,
        l0_retention_ms: 150,
    };
    let now_ms = u64::try_from(crate::clock::now_ms()).unwrap();
    let live = LiveSet::new(&inventory, &window, now_ms).unwrap();
    let is_point = |file: &&ReplicaFile| {
        let need = live.need(file);
        need.is_some_and(|need| !matches!(need, Need::NewestOfLevel | Need::Link))
    };
    let points: Vec<_> = inventory.files().iter().filter(is_point).collect();
    assert!(!points.is_empty());
    for file in points {
        let output = tempfile::tempdir().unwrap();
        let options = RestoreOptions {
            target: crate::restore::Target::Txid(file.range().max()),
            ..RestoreOptions::new(output.path().join("restored.db"))
        };
        let all: Vec<_> = inventory
            .files()
            .iter()
            .map(|file| {
                (
                    file.level,
                    file.range(),
                    file.age_ms(now_ms),
                    live.need(file),
                )
            })
            .collect();
        let restored = restore(replica, options).await;
        assert!(restored.is_ok(), "{file:?} {restored:?} {all:#?}");
        rows(&output.path().join("restored.db"));
    }
}

#[tokio::test]
async fn a_damaged_source_is_never_merged_into_something_that_looks_whole() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |settings| {
        hurried(settings);
        settings.life.l0_retention_check = Duration::from_secs(3600);
    });
    for _ in 0..5 {
        insert(&app);
        keeper.sync().await.unwrap();
    }
    while keeper.status().databases[0].snapshot.is_none() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        insert(&app);
        keeper.sync().await.unwrap();
    }
    keeper.stop(DEADLINE).await.unwrap();
    // The local copy is gone, and a page of the one in the replica is damaged.
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let last = replica.list(Level::L0).await.unwrap().pop().unwrap();
    std::fs::remove_dir_all(dir.path().join(".app.db-litestream/ltx/0")).unwrap();
    let path = dir.path().join(format!("replica/ltx/0/{}", last.name));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[130] ^= 0xff;
    std::fs::write(&path, &bytes).unwrap();
    let inventory = lockkeeper_core::inventory::Inventory::new(replica.list_all().await.unwrap());
    let levels = lockkeeper_core::levels::Levels::new(&[1]).unwrap();
    let facts = lockkeeper_core::compaction::facts(&inventory, &levels, u64::MAX / 2);
    let merges = crate::policy::Policy::built_in().plan_compaction(&facts);
    let meta = dir.path().join(".app.db-litestream");
    let spool = Arc::new(crate::spool::Spool::open(&meta).unwrap());
    let merged =
        super::merge::run(&replica, &spool, &merges.accepted[0], PageEncoding::Block).await;
    assert!(merged.is_err(), "{merged:?}");
    assert!(
        replica
            .list(Level::new(1).unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_merge_that_cannot_be_written_says_what_the_store_said() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    for _ in 0..3 {
        // More than waits for the store, so that the merge sees it fail.
        app.execute("INSERT INTO t (x) VALUES (randomblob(1000000))", [])
            .unwrap();
        keeper.sync().await.unwrap();
    }
    keeper.stop(DEADLINE).await.unwrap();
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let inventory = Inventory::new(replica.list(Level::L0).await.unwrap());
    std::fs::write(dir.path().join("replica/ltx/1"), "not a folder").unwrap();
    let levels = lockkeeper_core::levels::Levels::new(&[1]).unwrap();
    let facts = lockkeeper_core::compaction::facts(&inventory, &levels, u64::MAX / 2);
    let merges = crate::policy::Policy::built_in().plan_compaction(&facts);
    let meta = dir.path().join(".app.db-litestream");
    let spool = Arc::new(crate::spool::Spool::open(&meta).unwrap());
    let merged =
        super::merge::run(&replica, &spool, &merges.accepted[0], PageEncoding::Block).await;
    let error = merged.unwrap_err().to_string();
    assert!(error.contains("cannot write ltx/1/"), "{error}");
}

#[tokio::test]
async fn a_replica_that_cannot_be_opened_is_an_error_of_the_start() {
    let (dir, _app) = fixture();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let entries = ["replica", "file"].map(|name| {
        Entry::File(settings(dir.path(), |settings| {
            settings.path = dir.path().join(format!("{name}.db"));
            settings.replica.place = ReplicaPlace::File(dir.path().join(name));
        }))
    });
    let common = Common {
        policy: crate::policy::Policy::built_in(),
        encoding: PageEncoding::Block,
        watcher: Arc::new(LogWatcher::new()),
    };
    let error = Lockkeeper::spawn(entries.into(), common, ReplicationLog::current()).unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
}

#[test]
fn what_a_replica_held_is_not_relied_on_before_it_is_listed_again() {
    let shared =
        super::shared::DatabaseShared::new("app.db".into(), Replica::file("replica").unwrap());
    shared.reached(Vec::new(), None);
    assert!(shared.snapshots().is_some());
    shared.restart(None);
    assert!(shared.snapshots().is_none() && shared.catalogue().is_none());
}

#[tokio::test]
async fn files_that_a_snapshot_was_ahead_of_are_sent_after_a_crash() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    for _ in 0..5 {
        insert(&app);
        keeper.sync().await.unwrap();
    }
    keeper.stop(DEADLINE).await.unwrap();
    let level0 = dir.path().join("replica/ltx/0");
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(&level0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let (before, last) = (names(), names().pop().unwrap());
    // As a crash leaves it: the snapshot of the last transaction is there, two files are not.
    let snapshots = dir.path().join("replica/ltx/9");
    std::fs::create_dir_all(&snapshots).unwrap();
    let snapshot = snapshots.join(format!("{:016x}-{}", 1, last.split_once('-').unwrap().1));
    std::fs::write(snapshot, vec![0; 200]).unwrap();
    for name in &before[before.len() - 2..] {
        std::fs::remove_file(level0.join(name)).unwrap();
    }
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(names()[..before.len()], before, "without a gap");
    assert!(names().len() > before.len());
}
