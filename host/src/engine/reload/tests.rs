//! Configurations that follow each other, on real databases and file replicas.

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::restore::{RestoreOptions, restore};
use crate::store::Replica;
use crate::{Builder, Lockkeeper};

const DEADLINE: Duration = Duration::from_secs(60);

/// A folder with databases whose transactions are counted.
struct World(TempDir);

impl World {
    fn with(databases: &[&str]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for name in databases {
            let app = world.open(name);
            app.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
                .unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Connection {
        let app = Connection::open(self.path(name)).unwrap();
        app.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))
            .unwrap();
        app
    }

    fn insert(&self, name: &str) {
        self.open(name)
            .execute("INSERT INTO t VALUES (2)", [])
            .unwrap();
    }

    fn builder(&self, entries: &[&str]) -> Builder {
        let entries: String = entries
            .iter()
            .map(|entry| format!("  - {{{entry}}}\n"))
            .collect();
        let config = format!("dbs:\n{entries}");
        Lockkeeper::builder().config(config).base_dir(self.0.path())
    }

    async fn start(&self, entries: &[&str]) -> Lockkeeper {
        let keeper = self.builder(entries).start().await.unwrap();
        keeper.sync().await.unwrap();
        keeper
    }

    /// How many rows a replica brings back.
    async fn rows(&self, replica: &str) -> i64 {
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("restored.db");
        let replica = Replica::file(self.path(replica)).unwrap();
        restore(&replica, RestoreOptions::new(&path)).await.unwrap();
        let db = Connection::open(&path).unwrap();
        db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap()
    }
}

fn member(keeper: &Lockkeeper, name: &str) -> Handle {
    let members = keeper.fleet.members();
    let found = members
        .into_iter()
        .find(|member| member.path.ends_with(name));
    found.expect(name)
}

const A: &str = "path: a.db, replica: {path: ra}";
const B: &str = "path: b.db, replica: {path: rb}";

#[tokio::test]
async fn a_database_whose_settings_stay_the_same_is_not_touched() {
    let world = World::with(
        &["a.db", "b.db", "dir/c.db"].map(|name| name.rsplit('/').next().unwrap_or(name)),
    );
    std::fs::create_dir(world.path("dir")).unwrap();
    std::fs::rename(world.path("c.db"), world.path("dir/c.db")).unwrap();
    let dir = "dir: dir, pattern: '*.db', watch: true, replica: {path: rd}";
    let keeper = world.start(&[A, B, dir]).await;
    while keeper.status().databases.len() < 3 {
        tokio::task::yield_now().await;
    }
    let before = ["a.db", "b.db", "c.db"].map(|name| member(&keeper, name));
    let changed = "path: b.db, monitor-interval: 2s, replica: {path: rb}";
    // In another order, which touches nobody either.
    let reloaded = keeper
        .reload(&world.builder(&[dir, changed, A]))
        .await
        .unwrap();
    let expected = Reloaded {
        kept: 2,
        changed: 1,
        ..Reloaded::default()
    };
    assert_eq!(reloaded, expected);
    let after = ["a.db", "b.db", "c.db"].map(|name| member(&keeper, name));
    let is_same = |at: usize| Arc::ptr_eq(&before[at].shared, &after[at].shared);
    assert!(is_same(0) && !is_same(1) && is_same(2));
    let order: Vec<_> = keeper
        .status()
        .databases
        .into_iter()
        .map(|it| it.path)
        .collect();
    assert_eq!(
        order,
        ["dir/c.db", "b.db", "a.db"].map(|name| world.path(name))
    );
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_is_not_valid_changes_nothing_and_the_status_says_why() {
    let world = World::with(&["a.db"]);
    let keeper = world.start(&[A]).await;
    let before = member(&keeper, "a.db");
    let error = keeper
        .reload(&world.builder(&["path: a.db"]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let rejected = keeper.status().configuration.rejected;
    assert_eq!(rejected, Some(error.to_string()));
    assert!(Arc::ptr_eq(&before.shared, &member(&keeper, "a.db").shared));
    keeper.reload(&world.builder(&[A])).await.unwrap();
    assert_eq!(keeper.status().configuration.rejected, None);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_replica_that_cannot_be_used_is_found_out_before_anything_is_changed() {
    let world = World::with(&["a.db"]);
    std::fs::create_dir(world.path("half")).unwrap();
    std::fs::write(world.path("half/ltx"), "in the way").unwrap();
    let keeper = world.start(&[A]).await;
    let before = member(&keeper, "a.db");
    let bad = "path: a.db, replica: {path: half}";
    let error = keeper.reload(&world.builder(&[bad])).await.unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    assert!(Arc::ptr_eq(&before.shared, &member(&keeper, "a.db").shared));
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_configuration_that_turns_out_not_to_work_makes_way_for_the_one_before() {
    let world = World::with(&["a.db", "b.db"]);
    let keeper = world.start(&[A, B]).await;
    let elsewhere = "path: a.db, replica: {path: rc}";
    // Each can be used, but not both at a time.
    let bad = [elsewhere, "path: b.db, replica: {path: rc/ltx}"];
    let error = keeper.reload(&world.builder(&bad)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for (database, replica) in [("a.db", "ra"), ("b.db", "rb")] {
        world.insert(database);
        // It may still have to wait for what used it.
        while keeper.sync_database(world.path(database)).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.rows(replica).await, 2, "{database}");
    }
    let status = keeper.status();
    assert!(status.configuration.rejected.is_some());
    assert!(
        status
            .databases
            .iter()
            .all(|it| it.state == DatabaseState::Replicating)
    );
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_database_that_gets_another_replica_leaves_the_old_one_whole_and_fills_the_new_one() {
    let world = World::with(&["a.db"]);
    let keeper = world.start(&[A]).await;
    world.insert("a.db");
    let moved = "path: a.db, replica: {path: elsewhere}";
    let reloaded = keeper.reload(&world.builder(&[moved])).await.unwrap();
    assert_eq!(reloaded.changed, 1);
    world.insert("a.db");
    keeper.sync().await.unwrap();
    assert_eq!(
        world.rows("ra").await,
        2,
        "what was committed until the change"
    );
    assert_eq!(world.rows("elsewhere").await, 3);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn databases_come_and_go_with_the_configuration() {
    let world = World::with(&["a.db", "b.db"]);
    let keeper = world.start(&[A]).await;
    world.insert("a.db");
    let reloaded = keeper.reload(&world.builder(&[B])).await.unwrap();
    let expected = Reloaded {
        added: 1,
        removed: 1,
        ..Reloaded::default()
    };
    assert_eq!(reloaded, expected);
    assert_eq!(
        world.rows("ra").await,
        2,
        "what was committed until it left"
    );
    let databases = keeper.status().databases;
    assert_eq!(databases.len(), 1);
    keeper.sync().await.unwrap();
    assert_eq!(world.rows("rb").await, 1);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_database_could_not_send_is_named_at_the_end() {
    let world = World::with(&["a.db", "b.db"]);
    let keeper = world.start(&[A, B]).await;
    // Where the next file of the replica goes, there is a file already.
    std::fs::rename(world.path("ra/ltx"), world.path("ra/away")).unwrap();
    std::fs::write(world.path("ra/ltx"), "in the way").unwrap();
    world.insert("a.db");
    keeper.reload(&world.builder(&[B])).await.unwrap();
    assert_eq!(keeper.status().databases.len(), 1);
    let error = keeper
        .stop(Duration::from_millis(100))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.db") && !error.contains("b.db"), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_named_otherwise_keeps_the_databases_that_are_still_in_it() {
    let world = World::with(&["a.db", "b.sqlite"]);
    let dir =
        |pattern: &str| format!("dir: ., pattern: '{pattern}', watch: true, replica: {{path: r}}");
    let keeper = world.builder(&[&dir("[ab].*")]).start().await.unwrap();
    while keeper.status().databases.len() < 2 {
        tokio::task::yield_now().await;
    }
    keeper.sync().await.unwrap();
    let before = member(&keeper, "a.db");
    let reloaded = keeper
        .reload(&world.builder(&[&dir("*.db")]))
        .await
        .unwrap();
    assert_eq!(
        reloaded,
        Reloaded {
            kept: 1,
            removed: 1,
            ..Reloaded::default()
        }
    );
    assert!(Arc::ptr_eq(&before.shared, &member(&keeper, "a.db").shared));
    assert_eq!(keeper.status().databases.len(), 1);
    keeper.stop(DEADLINE).await.unwrap();
}
