//! Damage to the local state.

use std::path::Path;

use crate::world::World;

fn remove(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

fn truncate(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

fn corrupt(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

const DAMAGES: [fn(&Path); 3] = [remove, truncate, corrupt];

#[tokio::test]
async fn a_newest_local_file_that_is_lost_or_damaged_while_down_heals() {
    for damage in DAMAGES {
        let mut world = World::new().await;
        damage(&World::newest(&world.local()));
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn a_newest_local_file_that_is_lost_or_damaged_while_running_heals() {
    for damage in DAMAGES {
        let mut world = World::running().await;
        damage(&World::newest(&world.local()));
        world.assert_heals().await;
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn an_older_local_file_that_is_lost_or_damaged_heals() {
    for damage in DAMAGES {
        let mut world = World::new().await;
        let mut files = World::txids(&world.local());
        files.pop();
        let older = lockkeeper_ltx::FileName::new(*files.last().unwrap());
        damage(&world.local().join(older.to_string()));
        world
            .app
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        world.insert();
        world
            .app
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        world.assert_heals().await;
    }
}

#[tokio::test]
async fn a_lost_state_directory_heals() {
    let mut world = World::new().await;
    std::fs::remove_dir_all(world.path(".app.db-litestream")).unwrap();
    world.insert();
    world.assert_heals().await;
}
