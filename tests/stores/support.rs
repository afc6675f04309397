//! A database that is replicated to a store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper::policy::{Component, PolicySource};
use lockkeeper::restore::{RestoreOptions, Target, restore};
use lockkeeper::store::{Replica, body_from_bytes};
use lockkeeper::{Configuration, Lockkeeper};
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::Level;
use lockkeeper_tests::database;
use rusqlite::Connection;
use tempfile::TempDir;

const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How long something may take that waits for a store.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// An application's database, and a configuration that sends it somewhere.
pub(crate) struct Subject {
    dir: TempDir,
    pub(crate) app: Connection,
}

impl Subject {
    /// `replica` is what the configuration has as the replica.
    pub(crate) fn new(replica: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let config = format!(
            "dbs:\n  - path: {}\n    replica: {replica}\n",
            path.display()
        );
        std::fs::write(dir.path().join("litestream.yml"), config).unwrap();
        let app = database::open_without_checkpoints(&path);
        app.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            .unwrap();
        Self { dir, app }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("litestream.yml")
    }

    /// Commits rows of `bytes` bytes.
    pub(crate) fn insert(&self, rows: u32, bytes: u32) {
        for _ in 0..rows {
            self.app
                .execute("INSERT INTO t (x) VALUES (randomblob(?1))", [bytes])
                .unwrap();
        }
    }

    /// Removes the local state directory, as if the machine was another.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(database::state_directory(&self.path())).unwrap();
    }

    pub(crate) async fn start(&self) -> Lockkeeper {
        let text = std::fs::read_to_string(self.config()).unwrap();
        Lockkeeper::builder().config(text).start().await.unwrap()
    }

    pub(crate) fn replica(&self) -> Replica {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let configuration = Configuration::read(&text, &component(), self.dir.path()).unwrap();
        configuration.replica_of(&self.path()).unwrap()
    }

    /// The bytes of the database now.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        database::bytes(&mut self.app)
    }

    /// What lockkeeper restores.
    pub(crate) async fn restored(&self, target: Target) -> Vec<u8> {
        restored(&self.replica(), target).await
    }
}

pub(crate) async fn restored(replica: &Replica, target: Target) -> Vec<u8> {
    let output = tempfile::tempdir().unwrap();
    let path = output.path().join("restored.db");
    let options = RestoreOptions {
        target,
        ..RestoreOptions::new(&path)
    };
    if let Err(error) = restore(replica, options).await {
        panic!("cannot restore {target:?}: {error}");
    }
    std::fs::read(path).unwrap()
}

pub(crate) async fn stop(keeper: Lockkeeper) {
    keeper.stop(STOP_DEADLINE).await.unwrap();
}

/// Twenty small files, as they are listed.
pub(crate) async fn put_twenty(replica: &Replica) -> Vec<ReplicaFile> {
    for n in 1..=20_u64 {
        let name = format!("{n:016x}-{n:016x}.ltx").parse().unwrap();
        let body = body_from_bytes(&b"x"[..]);
        replica.put(Level::L0, name, 1, body).await.unwrap();
    }
    replica.list_all().await.unwrap()
}

/// The store of a replica that a configuration describes.
pub(crate) fn replica(described: &str) -> Replica {
    let text = format!("dbs: [{{path: app.db, replica: {described}}}]");
    let configuration = Configuration::read(&text, &component(), Path::new("/")).unwrap();
    configuration.replica_of(Path::new("/app.db")).unwrap()
}

fn component() -> Component {
    Component::load(&PolicySource::Embedded).unwrap()
}
