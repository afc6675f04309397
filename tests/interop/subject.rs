//! A database with a history, its replica, and its bytes at the transactions of the replica.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lockkeeper::restore::Target;
use lockkeeper::{Lockkeeper, PageEncoding};
use lockkeeper_ltx::Txid;
use lockkeeper_tests::litestream::Litestream;
use lockkeeper_tests::{database, replica};
use rusqlite::Connection;
use tempfile::TempDir;

const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// How often a state is read again because something was committed meanwhile.
const READ_TRIES: u32 = 20;

/// Small logs, so that a history has checkpoints in it.
const CONFIG: &str = "
dbs:
  - path: app.db
    min-checkpoint-page-count: 20
    replica: {path: replica, sync-interval: 50ms}
";

/// What a step of a history does. The last one rewrites every page.
pub(crate) const STEPS: [&str; 8] = [
    "INSERT INTO t (x) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60)
     SELECT randomblob(2000) FROM n",
    "INSERT INTO t (x) VALUES (randomblob(100))",
    "UPDATE t SET x = randomblob(1500) WHERE id % 7 = 0",
    "DELETE FROM t WHERE id % 3 = 0; PRAGMA incremental_vacuum(9)",
    "CREATE TABLE IF NOT EXISTS u (a INTEGER PRIMARY KEY, b TEXT UNIQUE);
     INSERT INTO u (b) VALUES (hex(randomblob(700)))",
    "DELETE FROM t WHERE id % 2 = 0; PRAGMA incremental_vacuum",
    "BEGIN; INSERT INTO t (x) VALUES (zeroblob(300000));
     DELETE FROM t WHERE length(x) = 300000; COMMIT",
    "VACUUM",
];

/// An application's database and its replica.
pub(crate) struct Subject {
    dir: TempDir,
    pub(crate) app: Connection,
    /// Its bytes at transactions of the replica.
    truths: BTreeMap<Txid, Vec<u8>>,
}

impl Subject {
    pub(crate) fn new(page_size: u32, auto_vacuum: AutoVacuum) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let first = Connection::open(&path).unwrap();
        first.pragma_update(None, "page_size", page_size).unwrap();
        first
            .pragma_update(None, "auto_vacuum", auto_vacuum as u32)
            .unwrap();
        first
            .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            .unwrap();
        drop(first);
        Self {
            app: database::open_without_checkpoints(&path),
            dir,
            truths: BTreeMap::new(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    pub(crate) fn replica(&self) -> PathBuf {
        self.dir.path().join("replica")
    }

    /// Removes the local state directory, as if the machine was another.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(database::state_directory(&self.path())).unwrap();
    }

    /// Does one step of a history.
    pub(crate) fn step(&self, number: usize) {
        let sql = STEPS[number % STEPS.len()];
        self.app.execute_batch(sql).unwrap();
    }

    /// Starts lockkeeper.
    pub(crate) async fn start(&self, encoding: PageEncoding) -> Lockkeeper {
        Lockkeeper::builder()
            .config(CONFIG)
            .base_dir(self.dir.path())
            .page_encoding(encoding)
            .start()
            .await
            .unwrap()
    }

    /// Syncs with lockkeeper, and notes the bytes of the transaction that is then durable.
    pub(crate) async fn sync(&mut self, keeper: &Lockkeeper) {
        for _ in 0..READ_TRIES {
            keeper.sync().await.unwrap();
            let before = keeper.status().databases[0].durable.unwrap();
            let bytes = database::bytes(&mut self.app);
            keeper.sync().await.unwrap();
            // A checkpoint commits a small change of its own; the bytes are then those after it.
            if keeper.status().databases[0].durable == Some(before) {
                self.truths.insert(before, bytes);
                return;
            }
        }
        panic!("the database is never at rest");
    }

    /// Syncs with lockkeeper for the last time.
    pub(crate) async fn stop(&mut self, keeper: Lockkeeper) {
        keeper.stop(STOP_DEADLINE).await.unwrap();
        self.note_last().await;
    }

    /// Syncs with Litestream, and notes the bytes of the transaction that is then in the replica.
    pub(crate) async fn sync_official(&mut self, litestream: &Litestream) {
        litestream.replicate_once(&self.path(), &self.replica());
        self.note_last().await;
    }

    /// Notes the bytes of the last transaction in the replica, while nothing runs.
    pub(crate) async fn note_last(&mut self) {
        let increments = replica::increments(&self.replica()).await;
        let last = increments.last().unwrap().txid;
        self.truths.insert(last, database::bytes(&mut self.app));
    }

    /// Restores every point of the replica with lockkeeper and with Litestream; fails unless both
    /// make the bytes that were noted.
    pub(crate) async fn check_every_point(&self, litestream: &Litestream) {
        let points = self.points().await;
        for point in &points {
            let ours = replica::restored(&self.replica(), point.target).await;
            let arguments: Vec<&str> = point.arguments.iter().map(String::as_str).collect();
            let theirs = litestream.restored(&self.replica(), &arguments);
            let what = format!("{:?}, both programs", point.target);
            database::assert_same_bytes(&ours, &theirs, &what);
            if let Some(truth) = self.truths.get(&point.txid) {
                let what = format!("{:?}, the database", point.target);
                database::assert_same_bytes(&ours, truth, &what);
            }
        }
        let known = points
            .iter()
            .filter(|point| self.truths.contains_key(&point.txid));
        assert!(known.count() > self.truths.len(), "{} points", points.len());
    }

    /// The newest state, every transaction, and every time between two of them.
    async fn points(&self) -> Vec<Point> {
        let increments = replica::increments(&self.replica()).await;
        replica::assert_no_gap(&increments);
        let last = increments.last().unwrap().txid;
        let mut points = vec![Point::new(Target::Latest, last)];
        for (before, file) in std::iter::once(None)
            .chain(increments.iter().map(Some))
            .zip(&increments)
        {
            points.push(Point::new(Target::Txid(file.txid), file.txid));
            // A time takes what is older than it; files of one millisecond come together.
            if let Some(before) = before.filter(|before| before.created_ms < file.created_ms) {
                points.push(Point::new(Target::Before(file.created_ms), before.txid));
            }
        }
        points
    }
}

/// `PRAGMA auto_vacuum`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AutoVacuum {
    None = 0,
    Full = 1,
    Incremental = 2,
}

/// A point that a replica can be restored to.
struct Point {
    target: Target,
    /// What Litestream is told.
    arguments: Vec<String>,
    /// The last transaction before it.
    txid: Txid,
}

impl Point {
    fn new(target: Target, txid: Txid) -> Self {
        let arguments = match target {
            Target::Txid(txid) => vec!["-txid".into(), txid.to_string()],
            Target::Before(ms) => {
                let time = jiff::Timestamp::from_millisecond(ms).unwrap();
                vec!["-timestamp".into(), time.to_string()]
            }
            _ => Vec::new(),
        };
        Self {
            target,
            arguments,
            txid,
        }
    }
}
