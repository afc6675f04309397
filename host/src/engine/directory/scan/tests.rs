//! What a look finds, and what it does not have to look at.

use std::os::unix::fs::symlink;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::settings::{DatabaseSettings, ReplicaPlace, ReplicaSettings};

struct World {
    outside: TempDir,
    root: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            outside: tempfile::tempdir().unwrap(),
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn scanner(&self, recursive: bool) -> Scanner {
        let replica = ReplicaSettings {
            place: ReplicaPlace::File("replica".into()),
            sync_interval: Duration::from_secs(1),
        };
        let settings = DirectorySettings {
            path: self.root.path().to_owned(),
            pattern: glob::Pattern::new("*.db").unwrap(),
            recursive,
            watch: true,
            meta_path: None,
            meta_dir: None,
            database: DatabaseSettings::new(self.root.path(), replica),
        };
        Scanner::new(settings, BTreeSet::new())
    }

    /// As if it was changed long ago.
    fn age(&self, folder: &str) {
        let old = SystemTime::now() - Duration::from_secs(60);
        let folder = fs::File::open(self.path(folder)).unwrap();
        folder.set_modified(old).unwrap();
    }

    #[track_caller]
    fn finds(&self, scanner: &mut Scanner, expected: &[&str]) {
        let found = scanner.look().unwrap();
        assert_eq!(found.error, None);
        let expected: BTreeSet<PathBuf> = expected.iter().map(|name| self.path(name)).collect();
        assert_eq!(found.databases.expect("something changed"), expected);
    }
}

fn make(path: &Path) -> Connection {
    let app = Connection::open(path).unwrap();
    app.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))
        .unwrap();
    app.execute_batch("CREATE TABLE t (x)").unwrap();
    app
}

#[test]
fn a_folder_that_did_not_change_is_not_read() {
    let world = World::new();
    let _a = make(&world.path("a.db"));
    let mut scanner = world.scanner(false);
    world.age("");
    world.finds(&mut scanner, &["a.db"]);
    assert!(scanner.look().unwrap().databases.is_none());
    let _b = make(&world.path("b.db"));
    world.finds(&mut scanner, &["a.db", "b.db"]);
}

#[test]
fn a_file_is_found_when_it_becomes_a_database() {
    let world = World::new();
    fs::write(world.path("a.db"), "").unwrap();
    fs::write(world.path("notes.db"), "no database, but named like one").unwrap();
    let mut scanner = world.scanner(false);
    world.age("");
    world.finds(&mut scanner, &[]);
    assert!(scanner.look().unwrap().databases.is_none());
    // The folder has the same entries as before.
    Connection::open(world.path("a.db"))
        .unwrap()
        .execute_batch("PRAGMA journal_mode = off; CREATE TABLE t (x)")
        .unwrap();
    world.age("");
    world.finds(&mut scanner, &["a.db"]);
}

#[test]
fn what_goes_is_gone_and_what_is_renamed_has_its_new_name() {
    let world = World::new();
    drop(make(&world.path("a.db")));
    let mut scanner = world.scanner(false);
    world.finds(&mut scanner, &["a.db"]);
    fs::rename(world.path("a.db"), world.path("b.db")).unwrap();
    world.finds(&mut scanner, &["b.db"]);
    fs::remove_file(world.path("b.db")).unwrap();
    world.finds(&mut scanner, &[]);
}

#[test]
fn folders_below_are_looked_through_only_if_that_is_wanted_and_state_never_is() {
    let world = World::new();
    fs::create_dir_all(world.path("deep/down")).unwrap();
    fs::create_dir(world.path(".a.db-litestream")).unwrap();
    let databases = ["a.db", "deep/down/b.db", ".a.db-litestream/c.db"];
    let _open = databases.map(|name| make(&world.path(name)));
    world.finds(&mut world.scanner(false), &["a.db"]);
    let mut scanner = world.scanner(true);
    world.finds(&mut scanner, &["a.db", "deep/down/b.db"]);
    for folder in ["", "deep", "deep/down"] {
        world.age(folder);
    }
    world.finds(&mut scanner, &["a.db", "deep/down/b.db"]);
    assert!(scanner.look().unwrap().databases.is_none());
    let _c = make(&world.path("deep/down/c.db"));
    world.finds(&mut scanner, &["a.db", "deep/down/b.db", "deep/down/c.db"]);
}

#[test]
fn links_lead_nowhere() {
    let world = World::new();
    let _outside = make(&world.outside.path().join("x.db"));
    let _inside = make(&world.path("a.db"));
    symlink(world.outside.path(), world.path("folder")).unwrap();
    symlink(world.outside.path().join("x.db"), world.path("x.db")).unwrap();
    symlink("a.db", world.path("second-name.db")).unwrap();
    symlink(".", world.path("circle")).unwrap();
    world.finds(&mut world.scanner(true), &["a.db"]);
}

#[test]
fn a_directory_that_cannot_be_read_loses_nothing() {
    let world = World::new();
    let _a = make(&world.path("a.db"));
    let mut scanner = world.scanner(false);
    world.finds(&mut scanner, &["a.db"]);
    let away = world.outside.path().join("away");
    fs::rename(world.root.path(), &away).unwrap();
    let error = scanner.look().unwrap_err();
    assert!(
        error.to_string().contains("cannot read the directory"),
        "{error}"
    );
    fs::rename(&away, world.root.path()).unwrap();
    world.finds(&mut scanner, &["a.db"]);
}

#[test]
fn a_file_that_somebody_keeps_to_himself_is_told_of_and_found_later() {
    let world = World::new();
    let app = make(&world.path("a.db"));
    app.execute_batch("PRAGMA journal_mode = delete; BEGIN EXCLUSIVE")
        .unwrap();
    let mut scanner = world.scanner(false);
    world.age("");
    for _ in 0..2 {
        let found = scanner.look().unwrap();
        let error = found.error.expect("it cannot be told");
        assert!(error.contains("a.db"), "{error}");
        assert_eq!(found.databases, Some(BTreeSet::new()));
    }
    app.execute_batch("COMMIT").unwrap();
    world.finds(&mut scanner, &["a.db"]);
}
