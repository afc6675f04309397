//! Other processes come and go while lockkeeper replicates in this one: its locks survive, the log
//! is not deleted, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lockkeeper::Lockkeeper;
use lockkeeper::restore::Target;
use lockkeeper_tests::database::{self, shm, wal};
use lockkeeper_tests::kernel::locks_on;
use lockkeeper_tests::process::{self, Running};
use lockkeeper_tests::{oracle, replica};
use tempfile::TempDir;

const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How often another process opens the database and closes it.
const VISITS: u32 = 20;
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
async fn another_process_that_opens_reads_and_closes_takes_no_lock_and_no_log_away() {
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

/// Fails if a file after the first holds every page: the log was then lost sight of.
async fn assert_incremental(folder: &Path) {
    let increments = replica::increments(folder).await;
    replica::assert_no_gap(&increments);
    let full = increments.iter().skip(1).filter(|file| file.is_full);
    assert_eq!(full.count(), 0, "{increments:#?}");
}
