//! What happens to the database and its log.

use std::path::Path;

use lockkeeper::DatabaseState;
use rusqlite::Connection;

use crate::world::{World, open, other_database};

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts another database in the place of one, its log and index included.
fn replace(path: &Path, rows: u32, page_size: u32) {
    let other = path.with_file_name("other.db");
    other_database(&other, rows, page_size);
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(path, suffix));
        let _ = std::fs::remove_file(beside(&other, suffix));
    }
    std::fs::rename(&other, path).unwrap();
}

#[tokio::test]
async fn a_database_that_was_replaced_is_replicated_as_it_is_now() {
    // Smaller and larger than before, and with another page size.
    for (rows, page_size) in [(1, 4096), (100, 4096), (20, 1024)] {
        let mut world = World::new().await;
        world.while_closed(|path| replace(path, rows, page_size));
        world.assert_heals().await;

        let mut world = World::running().await;
        world.while_closed(|path| replace(path, rows, page_size));
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn commits_just_before_a_database_was_replaced_are_in_the_replica() {
    let mut world = World::running().await;
    world.insert();
    world.sync().await;
    let durable = world.status().durable;
    world.insert();
    let before = world.truth();
    world.while_closed(|path| replace(path, 5, 4096));
    world.sync().await;
    let mut next = durable.unwrap();
    let mut is_there = false;
    while let Some(txid) = next
        .next()
        .filter(|&txid| Some(txid) <= world.status().durable)
    {
        is_there |= world.restored(Some(txid)).await == before;
        next = txid;
    }
    assert!(is_there, "the last commit before is no point to restore");
    world.assert_heals().await;
}

#[tokio::test]
async fn a_database_that_came_back_older_is_reported_and_its_past_can_be_restored() {
    for running in [false, true] {
        let mut world = World::running().await;
        world.stop().await;
        let path = world.path("app.db");
        let old = (
            std::fs::read(&path).unwrap(),
            std::fs::read(beside(&path, "-wal")).unwrap(),
        );
        world.start().await;
        world.insert();
        world.sync().await;
        world.stop().await;
        let newest = world.restored(None).await;
        let txid = lockkeeper_ltx::TxidRange::max(*World::txids(&world.remote(0)).last().unwrap());
        if running {
            world.start().await;
            world.replicating().await;
        }
        world.while_closed(|path| {
            for (suffix, bytes) in [("", &old.0), ("-wal", &old.1)] {
                let target = beside(path, suffix);
                let _ = std::fs::remove_file(&target);
                std::fs::write(&target, bytes).unwrap();
            }
            let _ = std::fs::remove_file(beside(path, "-shm"));
        });
        if !running {
            world.start().await;
        }
        world.insert();
        world.sync().await;
        let undone = world.status().undone;
        assert!(undone >= Some(txid), "{undone:?} of {txid}");
        assert!(world.restored(undone).await == newest || running);
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn a_database_that_was_deleted_is_waited_for_and_its_end_is_durable() {
    let mut world = World::running().await;
    world.insert();
    let before = world.truth();
    world.app = Connection::open_in_memory().unwrap();
    let path = world.path("app.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&path, suffix));
    }
    world
        .until("the absence to be noticed", |status| {
            status.state == DatabaseState::Absent && status.durable == status.spooled
        })
        .await;
    assert!(world.restored(None).await == before);
    world.app = open(&path);
    world
        .app
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
        .unwrap();
    world.assert_heals().await;
}

#[tokio::test]
async fn another_journal_mode_or_page_size_while_down_heals() {
    for statement in [
        "PRAGMA journal_mode = DELETE; INSERT INTO t (x) VALUES (1);",
        "PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM;",
        "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = 1; VACUUM; DELETE FROM t;",
        "VACUUM;",
    ] {
        let mut world = World::new().await;
        world.app.execute_batch(statement).unwrap();
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn levels_go_on_after_the_page_size_changed() {
    let mut world = World::with_levels("200ms").await;
    let before = lockkeeper_ltx::TxidRange::max(*World::txids(&world.remote(0)).last().unwrap());
    world
        .app
        .execute_batch("PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM;")
        .unwrap();
    world.start().await;
    world
        .write_until("a merge of what came after", |world| {
            let merged = World::txids(&world.remote(1));
            merged
                .iter()
                .any(|&range| lockkeeper_ltx::TxidRange::min(range) > before)
        })
        .await;
    let merged = World::txids(&world.remote(1));
    let mixes = |range: &lockkeeper_ltx::TxidRange| {
        lockkeeper_ltx::TxidRange::min(*range) <= before
            && lockkeeper_ltx::TxidRange::max(*range) > before
    };
    assert!(!merged.iter().any(mixes), "{merged:?}");
    world.assert_heals().await;
}

#[tokio::test]
async fn the_journal_mode_cannot_be_changed_while_replication_holds_the_log() {
    let mut world = World::running().await;
    world.app.busy_timeout(std::time::Duration::ZERO).unwrap();
    let mode = world
        .app
        .query_row("PRAGMA journal_mode = DELETE", [], |row| {
            row.get::<_, String>(0)
        });
    assert!(mode.is_err(), "{mode:?}");
    world
        .app
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    world.assert_heals().await;
}

#[tokio::test]
async fn a_log_or_index_that_was_deleted_heals() {
    for suffixes in [&["-wal", "-shm"][..], &["-shm"]] {
        let mut world = World::new().await;
        world
            .app
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        world.while_closed(|path| {
            for suffix in suffixes {
                let _ = std::fs::remove_file(beside(path, suffix));
            }
        });
        world.assert_heals().await;
    }
    // While it runs: commits that were in the log alone are gone from the database.
    let mut world = World::new().await;
    world
        .app
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    world.start().await;
    world.insert();
    world.sync().await;
    world.while_closed(|path| {
        std::fs::remove_file(beside(path, "-wal")).unwrap();
        std::fs::remove_file(beside(path, "-shm")).unwrap();
    });
    world.assert_heals().await;
}

#[tokio::test]
async fn checkpoints_of_every_kind_behind_our_back_heal() {
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        for running in [false, true] {
            let mut world = World::new().await;
            if running {
                world.start().await;
            }
            let other = open(&world.path("app.db"));
            other
                .busy_timeout(std::time::Duration::from_millis(20))
                .unwrap();
            for _ in 0..3 {
                world.insert();
                let sql = format!("PRAGMA wal_checkpoint({mode})");
                other.query_row(&sql, [], |_| Ok(())).unwrap();
                world.insert();
            }
            drop(other);
            world.assert_heals().await;
        }
    }
}

#[tokio::test]
async fn a_killed_replication_goes_on_whatever_was_written_meanwhile() {
    let mut world = World::running().await;
    for _ in 0..3 {
        world.insert();
        world.kill();
        world.insert();
        world
            .app
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        world.insert();
        world.start().await;
        world.insert();
        world.sync().await;
    }
    world.assert_heals().await;
}
