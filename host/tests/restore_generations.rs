//! Restores of what Litestream 0.3 wrote, held against what SQLite makes of the same log; and
//! replicas of that kind that nobody should write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use lockkeeper::restore::{RestoreOptions, RestorePlan, Target, plan_restore, restore};
use lockkeeper::store::{Replica, body_from_bytes};
use lockkeeper::{Error, ErrorKind, Lockkeeper};
use lockkeeper_ltx::Level;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use rusqlite::Connection;

const GENERATION: &str = "generations/00000000000000a1";

/// The files of a generation before they are compressed: name below the generation, and content.
type Files = Vec<(String, Vec<u8>)>;

fn compress(content: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Runs one batch of statements per log, and returns the generation and the database at its end.
/// Each log is cut after its header and in the middle of a frame.
fn generation(dir: &Path, page_size: usize, logs: &[&str]) -> (Files, Vec<u8>) {
    let path = dir.join(format!("source-{page_size}.db"));
    let log_path = dir.join(format!("source-{page_size}.db-wal"));
    let connection = Connection::open(&path).unwrap();
    let setup = format!(
        "PRAGMA page_size={page_size}; PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=wal;
         PRAGMA wal_autocheckpoint=0; CREATE TABLE t (a); PRAGMA wal_checkpoint(TRUNCATE)"
    );
    connection.execute_batch(&setup).unwrap();
    let snapshot = std::fs::read(&path).unwrap();
    let mut files = vec![("snapshots/00000000.snapshot.lz4".to_owned(), snapshot)];
    for (index, statements) in logs.iter().enumerate() {
        connection.execute_batch(statements).unwrap();
        let log = std::fs::read(&log_path).unwrap();
        let cuts = [0, 32, 32 + page_size + 24, 32 + page_size + 500, log.len()];
        for cut in cuts.windows(2) {
            let name = format!("wal/{index:08x}_{:08x}.wal.lz4", cut[0]);
            files.push((name, log[cut[0]..cut[1]].to_vec()));
        }
        connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
    }
    (files, std::fs::read(&path).unwrap())
}

/// Grows, shrinks before the end of the log, shrinks at it, and grows again.
const LOGS: [&str; 3] = [
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 60)
         INSERT INTO t SELECT randomblob(3000) FROM c;
     DELETE FROM t WHERE rowid > 20; PRAGMA incremental_vacuum;
     INSERT INTO t VALUES (zeroblob(90000))",
    "DELETE FROM t; PRAGMA incremental_vacuum; INSERT INTO t VALUES ('two')",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20)
         INSERT INTO t SELECT zeroblob(9000) FROM c;
     UPDATE t SET a = randomblob(50) WHERE rowid % 2",
];

fn small_generation(dir: &Path) -> (Files, Vec<u8>) {
    generation(dir, 512, &LOGS)
}

async fn put(replica: &Replica, key: &str, created_ms: i64, content: Vec<u8>) {
    let key = format!("{GENERATION}/{key}");
    let body = body_from_bytes(content);
    replica.store().put(&key, created_ms, body).await.unwrap();
}

/// Writes a replica, one millisecond per file, and restores its newest state.
async fn restored(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir_in(dir).unwrap();
    let replica = Replica::file(folder.path().join("replica")).unwrap();
    for (created_ms, (key, content)) in (1..).zip(files) {
        put(&replica, key, created_ms, compress(content)).await;
    }
    latest(folder.path(), &replica).await
}

async fn latest(folder: &Path, replica: &Replica) -> Result<Vec<u8>, Error> {
    let out = folder.join("out");
    std::fs::create_dir(&out).unwrap();
    let done = restore(replica, RestoreOptions::new(out.join("a.db"))).await;
    let names = std::fs::read_dir(&out).unwrap().count();
    assert_eq!(names, usize::from(done.is_ok()), "something was left");
    done.map(|_| std::fs::read(out.join("a.db")).unwrap())
}

#[tokio::test]
async fn logs_make_the_database_that_sqlite_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    for page_size in [512, 4096, 65536] {
        for count in 0..=LOGS.len() {
            let folder = tempfile::tempdir_in(dir.path()).unwrap();
            let (files, expected) = generation(folder.path(), page_size, &LOGS[..count]);
            let found = restored(folder.path(), &files).await.unwrap();
            assert!(found == expected, "page size {page_size}, {count} logs");
        }
    }
}

/// Where the pieces of the logs of [`small_generation`] begin in its files; four each.
const FIRST_LOG: usize = 1;
const SECOND_LOG: usize = 5;

#[tokio::test]
async fn a_transaction_without_its_end_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = small_generation(dir.path());
    let before = restored(dir.path(), &files[..SECOND_LOG]).await.unwrap();
    // The header and one frame of many.
    let begun = restored(dir.path(), &files[..SECOND_LOG + 2]).await;
    assert!(begun.unwrap() == before);
    let all = restored(dir.path(), &files[..SECOND_LOG + 4]).await;
    assert!(all.unwrap() != before);
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = small_generation(dir.path());
    let without_log = |files: &mut Files, index: u32| {
        files.retain(|(name, _)| !name.starts_with(&format!("wal/{index:08x}")));
    };
    type Change<'a> = &'a dyn Fn(&mut Files);
    let cases: [(&str, Change<'_>); 13] = [
        ("no matching backup files", &|f| drop(f.remove(0))),
        ("missing log 00000000", &|f| without_log(f, 0)),
        ("missing log 00000001", &|f| without_log(f, 1)),
        ("missing start of log 00000001", &|f| {
            f.remove(SECOND_LOG);
        }),
        ("begins at byte 568, but the log so far has 32", &|f| {
            f.remove(FIRST_LOG + 1);
        }),
        ("begins at byte 569, but", &|f| {
            f[FIRST_LOG + 2].0 = "wal/00000000_00000239.wal.lz4".into();
        }),
        ("begins at byte 567, but", &|f| {
            f[FIRST_LOG + 2].0 = "wal/00000000_00000237.wal.lz4".into();
        }),
        ("the log header is invalid", &|f| f[FIRST_LOG].1[5] ^= 1),
        ("frame 0 does not continue", &|f| {
            f[FIRST_LOG + 1].1[30] ^= 1;
        }),
        ("in the middle of a frame", &|f| {
            f.last_mut().unwrap().1.pop();
        }),
        ("it is no database", &|f| f[0].1[0] = b's'),
        ("its size is not that of a database", &|f| f[0].1.push(0)),
        ("its page size is 512, and 1024", &|f| {
            f[0].1[16] = 4;
            f[0].1.resize(64 * 1024, 0);
        }),
    ];
    for (text, change) in cases {
        let mut files = files.clone();
        change(&mut files);
        let error = restored(dir.path(), &files).await.unwrap_err();
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}

/// What becomes of a replica in which one file is changed after it was compressed.
async fn restored_with(
    dir: &Path,
    files: &[(String, Vec<u8>)],
    changed: usize,
    change: impl Fn(&mut Vec<u8>),
) -> Error {
    let folder = tempfile::tempdir_in(dir).unwrap();
    let replica = Replica::file(folder.path().join("replica")).unwrap();
    for (n, (key, content)) in files.iter().enumerate() {
        let mut bytes = compress(content);
        if n == changed {
            change(&mut bytes);
        }
        put(&replica, key, 1, bytes).await;
    }
    latest(folder.path(), &replica).await.unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_cut_or_damaged_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = small_generation(dir.path());
    let changes: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        // Without the mark of the end: it ends between two blocks.
        |bytes| bytes.truncate(bytes.len() - 8),
        |bytes| bytes.push(0),
        |bytes| bytes.clear(),
    ];
    for changed in [0, FIRST_LOG, SECOND_LOG + 3, files.len() - 1] {
        for change in changes {
            let error = restored_with(dir.path(), &files, changed, change).await;
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(&files[changed].0), "{error}");
        }
    }
}

#[tokio::test]
async fn a_log_that_swells_is_given_up_at_its_first_false_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (mut files, _) = small_generation(dir.path());
    let log = &mut files.last_mut().unwrap().1;
    log.resize(log.len() + (64 << 20), 0);
    let error = restored(dir.path(), &files).await.unwrap_err();
    assert!(
        error.to_string().contains("does not continue the log"),
        "{error}"
    );
}

#[tokio::test]
async fn of_both_formats_the_one_with_the_newer_data_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let (files, expected) = small_generation(dir.path());
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    for (key, content) in &files {
        put(&replica, key, 100, compress(content)).await;
    }
    let put_ltx = async |created_ms| {
        let name = "0000000000000001-0000000000000001.ltx".parse().unwrap();
        let body = body_from_bytes(vec![0; 200]);
        replica.delete(Level::SNAPSHOT, name).await.unwrap();
        let put = replica.put(Level::SNAPSHOT, name, created_ms, body);
        put.await.unwrap();
    };
    put_ltx(100).await;
    assert!(matches!(
        plan_restore(&replica, Target::Latest).await.unwrap(),
        RestorePlan::Ltx(_)
    ));
    put_ltx(99).await;
    let plan = plan_restore(&replica, Target::Latest).await.unwrap();
    assert_eq!(plan.file_count(), files.len());
    assert!(latest(dir.path(), &replica).await.unwrap() == expected);
}

#[tokio::test]
async fn a_missing_database_comes_back_from_generations_before_it_is_replicated() {
    let dir = tempfile::tempdir().unwrap();
    let (files, expected) = small_generation(dir.path());
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    for (key, content) in &files {
        put(&replica, key, 100, compress(content)).await;
    }
    let started = Lockkeeper::builder()
        .config("dbs:\n  - path: a.db\n    replica: {path: replica}\n")
        .base_dir(dir.path())
        .restore_if_missing(true)
        .start();
    let keeper = started.await.unwrap();
    keeper.stop(Duration::from_secs(60)).await.unwrap();

    let rows = |path: &Path| -> i64 {
        let connection = Connection::open(path).unwrap();
        let count = "SELECT count(*) FROM t";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    };
    std::fs::write(dir.path().join("expected.db"), expected).unwrap();
    let found = rows(&dir.path().join("a.db"));
    assert_eq!(found, rows(&dir.path().join("expected.db")));
}
