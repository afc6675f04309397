//! Other processes come and go while lockkeeper replicates in this one: its locks survive, the log
//! is not deleted, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockkeeper::Lockkeeper;
use lockkeeper::restore::Target;
use lockkeeper_tests::database::{self, shm, wal};
use lockkeeper_tests::kernel::locks_on;
use lockkeeper_tests::process::{self, Running};
use lockkeeper_tests::tools::program;
use lockkeeper_tests::{oracle, replica};
use rusqlite::Connection;
use tempfile::TempDir;

const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How often another process opens the database and closes it.
const VISITS: u32 = 20;
/// Bytes of a page.
const PAGE_LEN: u64 = 4096;
/// A log that is this small is no sign that nobody empties it.
const LOG_LEN: u64 = 4 << 20;
/// Commits of each process that writes at the same time.
const COMMITS: u32 = 1_000;

/// Small logs, so that checkpoints come often.
const CONFIG: &str = "
dbs:
  - path: app.db
    min-checkpoint-page-count: 50
    replica: {path: replica, sync-interval: 20ms}
";

struct Fixture {
    dir: TempDir,
    writer: oracle::Writer,
}

impl Fixture {
    async fn start() -> (Self, Lockkeeper) {
        let dir = tempfile::tempdir().unwrap();
        let writer = oracle::Writer::open(&dir.path().join("app.db"), 1);
        let keeper = Lockkeeper::builder()
            .config(CONFIG)
            .base_dir(dir.path())
            .start()
            .await
            .unwrap();
        keeper.sync().await.unwrap();
        (Self { dir, writer }, keeper)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    /// Another process that writes `count` times as writer `number`.
    fn other(&self, number: u32, count: u32) -> Running {
        Running::start(
            Command::new(APP)
                .arg("write")
                .arg(self.path())
                .args([number.to_string(), count.to_string()]),
        )
    }

    #[track_caller]
    fn assert_held(&self) {
        let path = self.path();
        assert!(locks_on(&path) > 0, "no lock on the database is left");
        assert!(locks_on(&shm(&path)) > 0, "no lock on -shm is left");
        assert!(wal(&path).exists(), "the log was deleted");
    }

    /// Stops replication; fails unless the replica has every transaction of every writer.
    async fn finish(mut self, keeper: Lockkeeper, expected: &[u32]) {
        keeper.stop(STOP_DEADLINE).await.unwrap();
        let expected: Vec<i64> = expected.iter().map(|count| i64::from(*count)).collect();
        let folder = self.dir.path().join("replica");
        let restored = replica::restored(&folder, Target::Latest).await;
        let truth = database::bytes(self.writer.connection());
        database::assert_same_bytes(&restored, &truth, "the database");
        let copy = self.dir.path().join("copy.db");
        std::fs::write(&copy, restored).unwrap();
        let writers = u32::try_from(expected.len()).unwrap();
        assert_eq!(oracle::check(&copy, writers), expected);
    }
}

/// The other process, with the same SQLite.
const APP: &str = env!("CARGO_BIN_EXE_lockkeeper-test-app");

#[tokio::test]
async fn f3_another_process_that_opens_reads_and_closes_takes_no_lock_and_no_log_away() {
    let (mut fixture, keeper) = Fixture::start().await;
    let path = fixture.path();
    for visit in 1..=VISITS {
        fixture.writer.write();
        let ended = process::run(APP, &["visit", path.to_str().unwrap(), "entry"]);
        assert_eq!(ended.printed, [visit.to_string()], "it sees every commit");
        fixture.assert_held();
        keeper.sync().await.unwrap();
        fixture.assert_held();
    }
    fixture.finish(keeper, &[VISITS]).await;
}

#[tokio::test]
async fn what_a_process_writes_that_comes_and_goes_is_replicated() {
    let (mut fixture, keeper) = Fixture::start().await;
    for _ in 0..VISITS {
        fixture.writer.write();
        let ended = fixture.other(2, 5).finish();
        assert!(ended.status.success(), "{ended:?}");
        fixture.assert_held();
    }
    keeper.sync().await.unwrap();
    fixture.assert_held();
    let folder = fixture.dir.path().join("replica");
    assert_incremental(&folder).await;
    fixture.finish(keeper, &[VISITS, 5 * VISITS]).await;
}

#[tokio::test]
async fn two_processes_that_write_at_the_same_time_lose_nothing() {
    let (mut fixture, keeper) = Fixture::start().await;
    let others = [2, 3].map(|number| fixture.other(number, COMMITS));
    for _ in 0..COMMITS {
        fixture.writer.write();
    }
    for other in others {
        let ended = other.finish();
        assert!(ended.status.success(), "{ended:?}");
    }
    fixture.assert_held();
    fixture.finish(keeper, &[COMMITS; 3]).await;
}

/// How long the load lasts: as long as the checklist has it where time is not short.
fn load_time() -> Duration {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let time = Duration::from_secs(if is_ci { 60 } else { 8 });
    eprintln!("{} s of load; 60 with CI=true", time.as_secs());
    time
}

/// Writes to a database as the example application does, until it is told to stop; returns how
/// often.
fn write_on(path: &Path, is_over: &AtomicBool) -> rusqlite::Result<i64> {
    let app = Connection::open(path)?;
    app.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA synchronous = normal; PRAGMA wal_autocheckpoint = 0",
    )?;
    let mut commits = 0;
    while !is_over.load(Ordering::Relaxed) {
        app.execute("INSERT INTO t VALUES ('app', randomblob(2000))", [])?;
        commits += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(commits)
}

/// The same with a program that comes and goes.
fn write_from_outside(sqlite3: &Path, path: &Path, is_over: &AtomicBool) -> i64 {
    let mut commits = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut command = Command::new(sqlite3);
        // Most versions that distributions have may lose pages when they checkpoint beside others.
        let quiet = "PRAGMA wal_autocheckpoint = 0";
        command.args(["-bail", "-cmd", ".timeout 5000", "-cmd", quiet]);
        command.arg(path);
        command.arg("INSERT INTO t VALUES ('sqlite3', randomblob(2000))");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        commits += 1;
    }
    commits
}

/// The largest that the log of a database ever is.
fn watch_log(path: &Path, is_over: &AtomicBool) -> u64 {
    let mut largest = 0;
    while !is_over.load(Ordering::Relaxed) {
        largest = largest.max(std::fs::metadata(wal(path)).map_or(0, |it| it.len()));
        std::thread::sleep(Duration::from_millis(5));
    }
    largest
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_nobody_finds_the_database_busy_and_the_log_stays_small_under_load() {
    let Some(sqlite3) = program("sqlite3") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let app = database::open_without_checkpoints(&path);
    app.execute_batch("CREATE TABLE t (who, x)").unwrap();
    let keeper = Lockkeeper::builder().config(CONFIG).base_dir(dir.path());
    let keeper = keeper.start().await.unwrap();
    keeper.sync().await.unwrap();
    let is_over = AtomicBool::new(false);
    let (ours, theirs, largest) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| write_on(&path, &is_over));
            let theirs = scope.spawn(|| write_from_outside(&sqlite3, &path, &is_over));
            let largest = scope.spawn(|| watch_log(&path, &is_over));
            let deadline = Instant::now() + load_time();
            // Whoever fails ends the load at once.
            let works = || !ours.is_finished() && !theirs.is_finished();
            while Instant::now() < deadline && works() {
                std::thread::sleep(Duration::from_millis(50));
            }
            is_over.store(true, Ordering::Relaxed);
            let ours = ours.join().unwrap().expect("no commit fails");
            (ours, theirs.join().unwrap(), largest.join().unwrap())
        })
    });
    keeper.stop(STOP_DEADLINE).await.unwrap();
    // Each commit writes one page at least.
    let written = u64::try_from(ours + theirs).unwrap() * PAGE_LEN;
    println!("{ours} and {theirs} commits of {written} bytes; the log had {largest} at most");
    assert!(ours > 20 && theirs > 2, "{ours} and {theirs} are no load");
    assert!(largest < LOG_LEN.max(written / 2), "{largest} of {written}");
    drop(app);

    let folder = dir.path().join("replica");
    let restored = replica::restored(&folder, Target::Latest).await;
    let copy = dir.path().join("copy.db");
    std::fs::write(&copy, restored).unwrap();
    let copy = Connection::open(&copy).unwrap();
    for (who, commits) in [("app", ours), ("sqlite3", theirs)] {
        let sql = "SELECT count(*) FROM t WHERE who = ?1";
        let rows = copy.query_row(sql, [who], |row| row.get(0));
        assert_eq!(rows, Ok(commits), "{who}");
    }
}

/// Fails if a file after the first holds every page: the log was then lost sight of.
async fn assert_incremental(folder: &Path) {
    let increments = replica::increments(folder).await;
    replica::assert_no_gap(&increments);
    let full = increments.iter().skip(1).filter(|file| file.is_full);
    assert_eq!(full.count(), 0, "{increments:#?}");
}
