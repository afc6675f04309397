//! Directories whose databases come and go while they are replicated.

use super::*;

const DIRECTORY: &str = "data";

/// A root with a directory that need not exist.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(world.path("")).unwrap();
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        let directory = self.0.path().join(DIRECTORY);
        if name.is_empty() {
            directory
        } else {
            directory.join(name)
        }
    }

    fn entry(&self, watch: bool) -> Entry {
        Entry::Directory(DirectorySettings {
            path: self.path(""),
            pattern: glob::Pattern::new("*.db").unwrap(),
            recursive: true,
            watch,
            meta_path: None,
            meta_dir: None,
            database: settings(self.0.path(), |_| {}),
        })
    }

    fn start(&self) -> Lockkeeper {
        start_entry(self.entry(true))
    }

    /// A database with so many rows.
    fn make(&self, name: &str, rows: usize) -> Connection {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let app = Connection::open(path).unwrap();
        app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
            .unwrap();
        (0..rows).for_each(|_| insert(&app));
        app
    }

    fn remove(&self, name: &str) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.path(&format!("{name}{end}")));
        }
    }

    async fn restored(&self, name: &str) -> i64 {
        let output = tempfile::tempdir().unwrap();
        let path = output.path().join("restored.db");
        let replica = Replica::file(self.0.path().join("replica").join(name)).unwrap();
        restore(&replica, RestoreOptions::new(&path)).await.unwrap();
        rows(&path)
    }
}

/// Waits until the status is as wanted.
async fn until(keeper: &Lockkeeper, wanted: impl Fn(&Status) -> bool) {
    let waited = async {
        while !wanted(&keeper.status()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waited).await;
    assert!(waited.is_ok(), "{:#?}", keeper.status());
}

fn has(count: usize) -> impl Fn(&Status) -> bool {
    move |status| status.databases.len() == count
}

async fn synced(keeper: &Lockkeeper) {
    let synced = async {
        while keeper.sync().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, synced)
        .await
        .expect("it is durable in the end");
}

#[tokio::test]
async fn databases_of_a_watched_directory_come_and_go() {
    let world = World::new();
    let _first = world.make("app.db", 1);
    std::fs::write(world.path("notes.db"), "no database, but named like one").unwrap();
    let keeper = world.start();
    until(&keeper, has(1)).await;
    let second = world.make("more/app.db", 2);
    until(&keeper, has(2)).await;
    synced(&keeper).await;
    assert_eq!(world.restored("app.db").await, 1);
    assert_eq!(world.restored("more/app.db").await, 2);
    drop(second);
    std::fs::remove_dir_all(world.path("more")).unwrap();
    until(&keeper, has(1)).await;
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_comes_later_is_waited_for_and_the_status_says_so() {
    for watch in [true, false] {
        let world = World::new();
        std::fs::remove_dir(world.path("")).unwrap();
        let keeper = start_entry(world.entry(watch));
        until(&keeper, |status| {
            let directory = status.directories.first();
            directory.is_some_and(|directory| directory.error.is_some())
        })
        .await;
        assert!(!keeper.status().problems().is_empty());
        std::fs::create_dir(world.path("")).unwrap();
        let _app = world.make("app.db", 3);
        until(&keeper, has(1)).await;
        synced(&keeper).await;
        until(&keeper, |status| status.problems().is_empty()).await;
        assert_eq!(keeper.status().directories[0].databases, 1);
        keeper.stop(DEADLINE).await.unwrap();
        assert_eq!(world.restored("app.db").await, 3);
    }
}

#[tokio::test]
async fn a_directory_that_goes_away_takes_no_database_out_of_replication() {
    let world = World::new();
    let _app = world.make("app.db", 1);
    let keeper = world.start();
    until(&keeper, has(1)).await;
    synced(&keeper).await;
    let away = world.0.path().join("away");
    std::fs::rename(world.path(""), &away).unwrap();
    until(&keeper, |status| status.directories[0].error.is_some()).await;
    assert_eq!(keeper.status().databases.len(), 1);
    std::fs::rename(&away, world.path("")).unwrap();
    until(&keeper, |status| status.directories[0].error.is_none()).await;
    synced(&keeper).await;
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_removed_and_made_again_is_replicated_as_it_is_now() {
    let world = World::new();
    let first = world.make("app.db", 5);
    let keeper = world.start();
    until(&keeper, has(1)).await;
    synced(&keeper).await;
    // With and without a look in between.
    for (rows, wait) in [(2, true), (3, false)] {
        world.remove("app.db");
        if wait {
            until(&keeper, has(0)).await;
        }
        let _again = world.make("app.db", rows);
        until(&keeper, has(1)).await;
        let expected = i64::try_from(rows).unwrap();
        let restores = async {
            loop {
                synced(&keeper).await;
                if world.restored("app.db").await == expected {
                    return;
                }
            }
        };
        let restores = tokio::time::timeout(DEADLINE, restores).await;
        restores.expect("the new database comes to the replica");
    }
    drop(first);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_renamed_database_goes_on_under_its_new_name_and_its_old_replica_stays() {
    let world = World::new();
    let app = world.make("old.db", 2);
    let keeper = world.start();
    until(&keeper, has(1)).await;
    synced(&keeper).await;
    app.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(app);
    std::fs::rename(world.path("old.db"), world.path("new.db")).unwrap();
    until(&keeper, |status| {
        let databases = &status.databases;
        databases.len() == 1 && databases[0].path.ends_with("new.db")
    })
    .await;
    let app = Connection::open(world.path("new.db")).unwrap();
    insert(&app);
    synced(&keeper).await;
    assert_eq!(world.restored("new.db").await, 3);
    assert_eq!(world.restored("old.db").await, 2);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_database_that_has_an_entry_of_its_own_is_replicated_once() {
    let world = World::new();
    let _apps = ["app.db", "other.db"].map(|name| world.make(name, 1));
    let own = settings(world.0.path(), |settings| {
        settings.path = world.path("app.db");
        settings.replica.place = ReplicaPlace::File(world.0.path().join("own"));
    });
    let entries = vec![world.entry(true), Entry::File(own)];
    let keeper = Lockkeeper::spawn(entries, common(), ReplicationLog::current()).unwrap();
    until(&keeper, has(2)).await;
    synced(&keeper).await;
    assert_eq!(keeper.status().directories[0].databases, 2);
    assert!(!world.0.path().join("replica/app.db").exists());
    keeper.stop(DEADLINE).await.unwrap();
    assert_eq!(keeper_files(&world), ["other.db"]);
}

/// The databases that have a replica below that of the directory.
fn keeper_files(world: &World) -> Vec<String> {
    let found = std::fs::read_dir(world.0.path().join("replica")).unwrap();
    found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
