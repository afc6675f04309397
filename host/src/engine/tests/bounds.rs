//! What may hold up replication, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};

use lockkeeper_ltx::Txid;

use super::hooked::{Fate, Hooked};
use super::*;

/// A replica that never takes the first snapshot to its end.
fn slow(dir: &Path) -> Replica {
    let replica = Replica::file(dir.join("replica")).unwrap();
    let is_first = AtomicBool::new(true);
    let store = Hooked::new(&replica, true, move |key| {
        let stalls = key.starts_with("ltx/9/") && is_first.swap(false, Ordering::Relaxed);
        Box::pin(async move {
            if stalls {
                std::future::pending::<()>().await;
            }
            Fate::Done
        })
    });
    store.replica()
}

/// Commits until something is so.
async fn write_until(
    app: &Connection,
    keeper: &Lockkeeper,
    what: &str,
    is_so: impl Fn(&DatabaseStatus) -> bool,
) {
    let writing = async {
        while !is_so(&keeper.status().databases[0]) {
            insert(app);
            keeper.sync().await.unwrap();
            // Checkpoints and snapshots have their turn when nobody waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, writing).await.expect(what);
}

#[tokio::test]
async fn a_snapshot_that_its_store_takes_too_slowly_is_given_up_and_made_from_files() {
    const LOG_PAGES: u32 = 200;
    let (dir, app) = fixture();
    let replica = slow(dir.path());
    let keeper = start(dir.path(), |settings| {
        settings.replica.place = ReplicaPlace::Given(replica);
        settings.monitor_interval = Duration::from_millis(5);
        settings.life.l0_retention_check = Duration::from_millis(20);
        settings.truncate_pages = LOG_PAGES;
        settings.min_checkpoint_pages = 50;
    });
    write_until(&app, &keeper, "a snapshot", |status| {
        status.snapshot.is_some()
    })
    .await;
    let snapshot = keeper.status().databases[0].snapshot.unwrap();
    assert!(
        snapshot > Txid::FIRST,
        "it is none of the database as it began"
    );
    write_until(&app, &keeper, "a checkpoint", |status| {
        status.log_bytes < 100_000
    })
    .await;
    let status = keeper.status().databases.remove(0);
    // What one turn can miss comes on top.
    let bound = 2 * u64::from(LOG_PAGES) * (4096 + 24);
    assert!(
        status.log_bytes_max < bound,
        "{} bytes",
        status.log_bytes_max
    );
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(
        restored_rows(dir.path()).await,
        rows(&dir.path().join("app.db"))
    );

    let output = dir.path().join("at-snapshot.db");
    let mut options = RestoreOptions::new(&output);
    options.target = crate::restore::Target::Txid(snapshot);
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    restore(&replica, options).await.unwrap();
    assert!(rows(&output) > 0);
}

#[tokio::test]
async fn a_log_that_a_reader_holds_is_an_alarm_until_the_reader_ends() {
    let (dir, app) = fixture();
    insert(&app);
    let keeper = start(dir.path(), |settings| {
        settings.monitor_interval = Duration::from_millis(5);
        settings.truncate_pages = 300;
        settings.min_checkpoint_pages = 50;
    });
    keeper.sync().await.unwrap();
    let reader = Connection::open(dir.path().join("app.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    write_until(&app, &keeper, "the alarm", |status| {
        status.log_held.is_some()
    })
    .await;
    let held = keeper.status().databases[0].log_held.unwrap();
    assert!(held.bytes >= 300 * 4096, "{held:?}");
    write_until(&app, &keeper, "growth", |status| {
        status
            .log_held
            .is_some_and(|now| now.bytes > held.bytes && now.since == held.since)
    })
    .await;
    drop(reader);
    write_until(&app, &keeper, "the end of the alarm", |status| {
        status.log_held.is_none() && status.log_bytes < 200_000
    })
    .await;
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_cannot_be_right_pauses_deletion_and_the_status_says_so() {
    let (dir, app) = fixture();
    let keeper = start(dir.path(), |_| {});
    insert(&app);
    keeper.stop(DEADLINE).await.unwrap();
    let level_0 = dir.path().join("replica/ltx/0");
    for file in std::fs::read_dir(level_0).unwrap() {
        let file = std::fs::File::open(file.unwrap().path()).unwrap();
        let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
        file.set_modified(tomorrow).unwrap();
    }
    let keeper = start(dir.path(), |settings| {
        settings.life.l0_retention_check = Duration::from_millis(5);
    });
    write_until(&app, &keeper, "the pause", |status| {
        status
            .deletion_paused
            .as_deref()
            .is_some_and(|why| why.contains("clock"))
    })
    .await;
    keeper.stop(DEADLINE).await.unwrap();
}
