//! An output that follows a replica, held against the database that the replica is made from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "other tests need more of the support module")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockkeeper::restore::{FollowOptions, follow};
use lockkeeper::store::Replica;
use lockkeeper::{ErrorKind, Result};
use lockkeeper_ltx::{FileName, Level, Txid};
use rusqlite::Connection;
use support::{ltx_of, name, put, txid};
use tokio::sync::watch;

const PAGE_LEN: usize = 1024;

/// A database whose file after each transaction is known.
struct Source {
    connection: Connection,
    path: PathBuf,
    /// The file after transaction `n + 1`.
    images: Vec<Vec<u8>>,
}

/// Grows, changes in place, shrinks, and grows again.
const STATEMENTS: [&str; 6] = [
    "INSERT INTO t VALUES (zeroblob(5000)), ('one')",
    "UPDATE t SET a = 'two' WHERE a = 'one'",
    "DELETE FROM t WHERE length(a) > 100; PRAGMA incremental_vacuum",
    "INSERT INTO t VALUES (randomblob(20000))",
    "CREATE TABLE u (b); INSERT INTO u VALUES (7)",
    "UPDATE t SET a = 'last' WHERE a = 'two'",
];

impl Source {
    fn new(dir: &Path) -> Self {
        let path = dir.join("source.db");
        let connection = Connection::open(&path).unwrap();
        let setup = format!(
            "PRAGMA page_size={PAGE_LEN}; PRAGMA auto_vacuum=incremental;
             PRAGMA journal_mode=wal; CREATE TABLE t (a)"
        );
        connection.execute_batch(&setup).unwrap();
        let images = Vec::new();
        let mut source = Self {
            connection,
            path,
            images,
        };
        source.commit("INSERT INTO t VALUES ('zero')");
        source
    }

    /// One that went through all statements; its last transaction is the seventh.
    fn complete(dir: &Path) -> Self {
        let mut source = Self::new(dir);
        for statements in STATEMENTS {
            source.commit(statements);
        }
        source
    }

    fn commit(&mut self, statements: &str) {
        let checkpoint = "; PRAGMA wal_checkpoint(TRUNCATE)";
        let batch = format!("{statements}{checkpoint}");
        self.connection.execute_batch(&batch).unwrap();
        self.images.push(std::fs::read(&self.path).unwrap());
    }

    /// The file from transaction `min` to `max`: every page that they changed.
    fn ltx(&self, min: u64, max: u64) -> Vec<u8> {
        let image = |n: u64| &self.images[n as usize - 1];
        let before: &[u8] = if min == 1 { &[] } else { image(min - 1) };
        let after = image(max);
        let old: Vec<_> = before.chunks(PAGE_LEN).collect();
        let pages = after.chunks(PAGE_LEN).enumerate();
        let changed = pages.filter(|(n, page)| old.get(*n) != Some(page));
        let changed = changed.map(|(n, page)| (n as u32 + 1, page));
        let commit = (after.len() / PAGE_LEN) as u32;
        ltx_of(name(min, max), PAGE_LEN, commit, changed)
    }

    async fn put(&self, replica: &Replica, level: u8, min: u64, max: u64) {
        put(replica, level, name(min, max), self.ltx(min, max)).await;
    }

    /// Whether the file at `path` is the database after transaction `n`, but for what a header says
    /// about the journal and about changes.
    #[track_caller]
    fn assert_is(&self, path: &Path, n: u64) {
        let plain = |image: &[u8]| {
            let mut image = image.to_vec();
            for field in [18..20, 24..28, 92..96] {
                image[field].fill(0);
            }
            image
        };
        let found = std::fs::read(path).unwrap();
        assert!(plain(&found) == plain(&self.images[n as usize - 1]), "{n}");
        let checked = Connection::open(path).unwrap();
        let check = "PRAGMA integrity_check";
        let verdict = checked.query_row(check, [], |row| row.get::<_, String>(0));
        assert_eq!(verdict.unwrap(), "ok");
        let saved = std::fs::read_to_string(format!("{}-txid", path.display())).unwrap();
        assert_eq!(saved, format!("{n:016x}\n"));
    }
}

/// Follows until the output holds transaction `last`.
async fn follow_to(replica: &Replica, output: &Path, last: u64) -> Result<Txid> {
    let (sender, mut receiver) = watch::channel(0);
    let options = FollowOptions {
        interval: Duration::from_millis(2),
        applied: Some(Arc::new(move |txid: Txid| {
            sender.send_replace(txid.get());
        })),
        ..FollowOptions::new(output)
    };
    let stop = async move {
        if receiver.wait_for(|txid| *txid >= last).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    follow(replica, options, stop).await
}

async fn delete(replica: &Replica, level: Level, name: FileName) {
    replica.delete(level, name).await.unwrap();
}

#[tokio::test]
async fn an_output_follows_its_replica_while_that_grows() {
    let dir = tempfile::tempdir().unwrap();
    let (replica, output) = (
        Replica::file(dir.path().join("replica")).unwrap(),
        dir.path().join("out.db"),
    );
    let source = Source::complete(dir.path());
    source.put(&replica, 9, 1, 1).await;
    let grow = async {
        for n in 2..=7 {
            source.put(&replica, 0, n, n).await;
        }
    };
    let (followed, ()) = tokio::join!(follow_to(&replica, &output, 7), grow);
    assert_eq!(followed.unwrap(), txid(7));
    source.assert_is(&output, 7);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap());
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    let ours = |n: &&std::ffi::OsString| n.to_string_lossy().starts_with("out.db");
    assert_eq!(names.iter().filter(ours).count(), 2, "{names:?}");
}

#[tokio::test]
async fn to_be_stopped_at_once_is_an_error_only_while_there_is_no_output() {
    let dir = tempfile::tempdir().unwrap();
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let output = dir.path().join("out.db");
    let source = Source::complete(dir.path());
    source.put(&replica, 9, 1, 1).await;
    let stopped = || follow(&replica, FollowOptions::new(&output), async {});
    let error = stopped().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    follow_to(&replica, &output, 1).await.unwrap();
    assert_eq!(stopped().await.unwrap(), txid(1));
    source.assert_is(&output, 1);
}

#[tokio::test]
async fn following_goes_on_from_any_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::complete(dir.path());
    for restart in 1..=7 {
        let dir = tempfile::tempdir().unwrap();
        let replica = Replica::file(dir.path().join("replica")).unwrap();
        let output = dir.path().join("out.db");
        source.put(&replica, 9, 1, 1).await;
        for n in 2..=restart {
            source.put(&replica, 0, n, n).await;
        }
        // Restored at 1 or later, with all that is newer than the snapshot applied.
        let followed = follow_to(&replica, &output, restart).await;
        assert_eq!(followed.unwrap(), txid(restart));
        source.assert_is(&output, restart);
        for n in restart + 1..=7 {
            source.put(&replica, 0, n, n).await;
        }
        let followed = follow_to(&replica, &output, 7).await;
        assert_eq!(followed.unwrap(), txid(7));
        source.assert_is(&output, 7);
    }
}

#[tokio::test]
async fn what_was_merged_meanwhile_is_read_from_larger_files() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::complete(dir.path());
    // What takes the place of transactions 3 to 6 at level 0.
    for larger in [
        &[(1, 3, 6)][..],
        &[(1, 3, 4), (2, 2, 6)],
        &[(1, 3, 3), (9, 1, 6)],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let replica = Replica::file(dir.path().join("replica")).unwrap();
        let output = dir.path().join("out.db");
        source.put(&replica, 9, 1, 1).await;
        source.put(&replica, 0, 2, 2).await;
        follow_to(&replica, &output, 2).await.unwrap();
        delete(&replica, Level::L0, name(2, 2)).await;
        for &(level, min, max) in larger {
            source.put(&replica, level, min, max).await;
        }
        source.put(&replica, 0, 7, 7).await;
        let followed = follow_to(&replica, &output, 7).await;
        assert_eq!(followed.unwrap(), txid(7), "{larger:?}");
        source.assert_is(&output, 7);
    }
}

#[tokio::test]
async fn a_damaged_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::complete(dir.path());
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let output = dir.path().join("out.db");
    source.put(&replica, 9, 1, 1).await;
    source.put(&replica, 0, 2, 2).await;
    follow_to(&replica, &output, 2).await.unwrap();
    let before = std::fs::read(&output).unwrap();
    let whole = source.ltx(3, 3);
    for at in [0, 60, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        put(&replica, 0, name(3, 3), bytes).await;
        let error = follow_to(&replica, &output, 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(std::fs::read(&output).unwrap() == before, "{at}");
        source.assert_is(&output, 2);
    }
    put(&replica, 0, name(3, 3), whole).await;
    follow_to(&replica, &output, 3).await.unwrap();
    source.assert_is(&output, 3);
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::complete(dir.path());
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let output = dir.path().join("out.db");
    source.put(&replica, 9, 1, 1).await;
    source.put(&replica, 0, 2, 2).await;

    std::fs::write(&output, &source.images[0]).unwrap();
    let error = follow_to(&replica, &output, 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("out.db-txid says"), "{error}");
    std::fs::remove_file(&output).unwrap();
    follow_to(&replica, &output, 2).await.unwrap();

    // A replica that began again.
    delete(&replica, Level::L0, name(2, 2)).await;
    let error = follow_to(&replica, &output, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");

    // An output that somebody turned to the log mode.
    source.put(&replica, 0, 3, 3).await;
    let other = Connection::open(&output).unwrap();
    let mode = "PRAGMA journal_mode=wal";
    other.query_row(mode, [], |_| Ok(())).unwrap();
    drop(other);
    let error = follow_to(&replica, &output, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
