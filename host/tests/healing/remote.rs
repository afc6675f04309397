//! Damage to the replica.

use std::path::Path;

use lockkeeper_ltx::{FileName, TxidRange};

use crate::world::World;

fn file(folder: &Path, range: TxidRange) -> std::path::PathBuf {
    folder.join(FileName::new(range).to_string())
}

/// Some transaction in the middle of level 0.
fn middle(world: &World) -> TxidRange {
    let files = World::txids(&world.remote(0));
    files[files.len() / 2]
}

#[tokio::test]
async fn a_lost_remote_file_is_sent_again_from_its_local_copy_after_a_start() {
    let mut world = World::new().await;
    let lost = file(&world.remote(0), middle(&world));
    let before = std::fs::read(&lost).unwrap();
    std::fs::remove_file(&lost).unwrap();
    world.start().await;
    world
        .write_until("sending it again", |_| lost.exists())
        .await;
    assert!(std::fs::read(&lost).unwrap() == before);
    world.assert_heals().await;
}

#[tokio::test]
async fn a_lost_remote_file_is_sent_again_while_replication_runs() {
    let mut world = World::running().await;
    let lost = file(&world.remote(0), middle(&world));
    std::fs::remove_file(&lost).unwrap();
    world
        .write_until("sending it again", |_| lost.exists())
        .await;
    assert_eq!(world.status().lost, None);
    world.assert_heals().await;
}

#[tokio::test]
async fn a_newest_remote_file_that_is_lost_is_sent_again() {
    let mut world = World::new().await;
    std::fs::remove_file(World::newest(&world.remote(0))).unwrap();
    world.assert_heals().await;
}

#[tokio::test]
async fn a_lost_remote_file_without_a_local_copy_is_bridged_by_a_snapshot() {
    let mut world = World::running().await;
    let lost = *World::txids(&world.remote(0)).last().unwrap();
    world.insert();
    world.sync().await;
    world.stop().await;
    std::fs::remove_file(file(&world.remote(0), lost)).unwrap();
    std::fs::remove_file(file(&world.local(), lost)).unwrap();
    world.start().await;
    world
        .write_until("a snapshot past it", |world| {
            let snapshots = World::txids(&world.remote(9));
            snapshots
                .iter()
                .any(|&snapshot| TxidRange::max(snapshot) > TxidRange::max(lost))
        })
        .await;
    world
        .until("all to be well", |status| status.lost.is_none())
        .await;
    world.assert_heals().await;
}

#[tokio::test]
async fn a_lost_first_file_and_snapshot_are_bridged_by_a_snapshot() {
    let mut world = World::new().await;
    for level in [0, 9] {
        for range in World::txids(&world.remote(level)) {
            if range.is_snapshot() {
                std::fs::remove_file(file(&world.remote(level), range)).unwrap();
            }
        }
    }
    for range in World::txids(&world.local())
        .into_iter()
        .filter(|range| range.is_snapshot())
    {
        std::fs::remove_file(file(&world.local(), range)).unwrap();
    }
    world.start().await;
    world
        .write_until("a new snapshot", |world| {
            !World::txids(&world.remote(9)).is_empty()
        })
        .await;
    world.assert_heals().await;
}

#[tokio::test]
async fn a_replica_that_was_emptied_is_filled_again() {
    let mut world = World::new().await;
    std::fs::remove_dir_all(world.path("replica")).unwrap();
    world.assert_heals().await;

    let mut world = World::running().await;
    std::fs::remove_dir_all(world.path("replica")).unwrap();
    world
        .write_until("a new snapshot", |world| {
            !World::txids(&world.remote(9)).is_empty()
        })
        .await;
    world.assert_heals().await;
}

#[tokio::test]
async fn a_replica_that_lost_everything_is_not_taken_for_one_that_never_had_anything() {
    let mut world = World::new().await;
    std::fs::remove_dir_all(world.path("replica/ltx")).unwrap();
    world.app = rusqlite::Connection::open_in_memory().unwrap();
    std::fs::remove_file(world.path("app.db")).unwrap();
    std::fs::remove_dir_all(world.path(".app.db-litestream")).unwrap();
    let started = lockkeeper::Lockkeeper::builder()
        .config("dbs: [{path: app.db, replica: {path: replica}}]")
        .base_dir(world.path("."))
        .restore_if_missing(true)
        .start()
        .await;
    let error = started.err().unwrap();
    assert_eq!(error.kind(), lockkeeper::ErrorKind::Corrupt);
    assert!(error.to_string().contains("was durable"), "{error}");
    assert!(!world.path("app.db").exists());
}
