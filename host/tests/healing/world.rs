//! An application's database, its replica, and replication that comes and goes.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockkeeper::restore::{RestoreOptions, restore};
use lockkeeper::store::Replica;
use lockkeeper::{DatabaseState, DatabaseStatus, Lockkeeper};
use lockkeeper_ltx::{FileName, Txid, TxidRange};
use rusqlite::Connection;
use tempfile::TempDir;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    dir: TempDir,
    pub(crate) app: Connection,
    keeper: Option<Lockkeeper>,
    level_interval: &'static str,
    /// More of the configuration.
    pub(crate) more: &'static str,
}

impl World {
    /// A database that was replicated for some transactions, and is not at the moment.
    pub(crate) async fn new() -> Self {
        Self::with_levels("1h").await
    }

    /// The same, with a level 1 that is written this often.
    pub(crate) async fn with_levels(level_interval: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = open(&dir.path().join("app.db"));
        app.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            .unwrap();
        let keeper = None;
        let mut world = Self {
            dir,
            app,
            keeper,
            level_interval,
            more: "",
        };
        world.start().await;
        for _ in 0..6 {
            world.insert();
            world.sync().await;
        }
        world.stop().await;
        world
    }

    /// The same, while it is replicated.
    pub(crate) async fn running() -> Self {
        let mut world = Self::new().await;
        world.start().await;
        world.insert();
        world.sync().await;
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn local(&self) -> PathBuf {
        self.path(".app.db-litestream/ltx/0")
    }

    pub(crate) fn remote(&self, level: u8) -> PathBuf {
        self.path(&format!("replica/ltx/{level}"))
    }

    pub(crate) async fn start(&mut self) {
        let levels = format!("levels: [{{interval: {}}}]", self.level_interval);
        let config = "
l0-retention: 1h
l0-retention-check-interval: 20ms
shutdown-sync-timeout: 30s
dbs:
  - path: app.db
    monitor-interval: 20ms
    replica: {path: replica, sync-interval: 10ms}
";
        let builder = Lockkeeper::builder()
            .config(format!("{levels}\n{}{config}", self.more))
            .base_dir(self.dir.path());
        self.keeper = Some(builder.start().await.unwrap());
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.stop(DEADLINE).await.unwrap();
        }
    }

    /// Ends replication as a killed process would.
    pub(crate) fn kill(&mut self) {
        self.keeper = None;
    }

    pub(crate) fn insert(&self) {
        self.app
            .execute("INSERT INTO t (x) VALUES (randomblob(3000))", [])
            .unwrap();
    }

    pub(crate) async fn sync(&self) {
        let keeper = self.keeper.as_ref().unwrap();
        within("a sync", async {
            // While a database is opened again a sync fails; the caller asks again.
            while keeper.sync().await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let keeper = self.keeper.as_ref().unwrap();
        keeper.status().databases.remove(0)
    }

    pub(crate) fn keeper(&self) -> &Lockkeeper {
        self.keeper.as_ref().unwrap()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&DatabaseStatus) -> bool) {
        within(what, async {
            while !is_so(&self.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Commits until something is so, for nothing is looked at while nothing changes.
    pub(crate) async fn write_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        within(what, async {
            while !is_so(self) {
                self.insert();
                self.sync().await;
            }
        })
        .await;
    }

    pub(crate) async fn replicating(&self) {
        self.until("replication", |status| {
            status.state == DatabaseState::Replicating
        })
        .await;
    }

    /// Closes the application's connection and does something to its files.
    pub(crate) fn while_closed(&mut self, change: impl FnOnce(&Path)) {
        self.app = Connection::open_in_memory().unwrap();
        let path = self.path("app.db");
        change(&path);
        // Connections of one process share the index of a log, also one that was deleted; until
        // replication has let go of it, the file cannot be read.
        let start = Instant::now();
        self.app = loop {
            match try_open(&path) {
                Ok(app) => break app,
                Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
    }

    /// The transactions of the files in a folder.
    pub(crate) fn txids(folder: &Path) -> Vec<TxidRange> {
        let mut found: Vec<TxidRange> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()?
                    .parse::<FileName>()
                    .ok()
            })
            .map(FileName::range)
            .collect();
        found.sort_unstable_by_key(|&range| TxidRange::max(range));
        found
    }

    pub(crate) fn newest(folder: &Path) -> PathBuf {
        let range = *Self::txids(folder).last().unwrap();
        folder.join(FileName::new(range).to_string())
    }

    /// Goes on for a while, stops, and compares what is restored with the database.
    pub(crate) async fn assert_heals(&mut self) {
        if self.keeper.is_none() {
            self.start().await;
        }
        for _ in 0..2 {
            self.insert();
            self.sync().await;
        }
        self.stop().await;
        assert!(
            self.restored(None).await == self.truth(),
            "restored wrongly"
        );
    }

    /// The database that the replica restores to.
    pub(crate) async fn restored(&self, txid: Option<Txid>) -> Vec<u8> {
        let output = self.path("restored.db");
        let _ = std::fs::remove_file(&output);
        let replica = Replica::file(self.path("replica")).unwrap();
        let mut options = RestoreOptions::new(&output);
        if let Some(txid) = txid {
            options.target = lockkeeper::restore::Target::Txid(txid);
        }
        restore(&replica, options).await.unwrap();
        let bytes = std::fs::read(&output).unwrap();
        let check: String = Connection::open(&output)
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        bytes
    }

    /// Every page of the database as SQLite reads it.
    pub(crate) fn truth(&mut self) -> Vec<u8> {
        self.app.serialize("main").unwrap().to_vec()
    }
}

pub(crate) fn open(path: &Path) -> Connection {
    try_open(path).unwrap()
}

fn try_open(path: &Path) -> rusqlite::Result<Connection> {
    let app = Connection::open(path)?;
    app.busy_timeout(Duration::from_secs(10))?;
    app.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    app.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    app.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(app)
}

/// A database of its own kind, to be put in the place of another.
pub(crate) fn other_database(path: &Path, rows: u32, page_size: u32) {
    let other = Connection::open(path).unwrap();
    other.pragma_update(None, "page_size", page_size).unwrap();
    other
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t (x) SELECT randomblob(2000) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .unwrap();
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| panic!("{what} takes longer than {DEADLINE:?}"))
}
