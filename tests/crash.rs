//! An application that is killed in the middle of everything loses nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use lockkeeper::restore::Target;
use lockkeeper_tests::process::Running;
use lockkeeper_tests::{database, oracle, replica};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CYCLES: u32 = 20;
/// How often a kill waits until replication works; else it may come while it starts.
const KILLED_LATE: f64 = 0.75;
/// How often a kill comes just after something was confirmed as durable.
const KILLED_AFTER_SYNC: f64 = 0.5;
/// Commits before a kill: up to half a second.
const COMMITS_MAX: usize = 500;
/// Commits of the last run, which ends in peace.
const COMMITS_LAST: usize = 200;
/// Gives the moments of an earlier run again.
const SEED: &str = "LOCKKEEPER_TEST_SEED";

/// Small logs and quick syncs, so that kills meet checkpoints and uploads.
const CONFIG: &str = "
dbs:
  - path: app.db
    min-checkpoint-page-count: 50
    replica: {path: replica, sync-interval: 50ms}
";

/// What the application was told, over all of its runs.
#[derive(Debug, Default)]
struct Acknowledged {
    committed: i64,
    durable: i64,
}

impl Acknowledged {
    fn read(&mut self, printed: &[String]) {
        let newest = |what: &str| {
            let numbers = printed.iter().filter_map(|line| line.strip_prefix(what));
            numbers.map(|number| number.parse().unwrap()).max()
        };
        self.committed = self.committed.max(newest("committed ").unwrap_or(0));
        self.durable = self.durable.max(newest("durable ").unwrap_or(0));
    }
}

fn start(folder: &Path) -> Running {
    let app = env!("CARGO_BIN_EXE_lockkeeper-test-app");
    Running::start(Command::new(app).arg("replicate").arg(folder))
}

fn wait_for_commits(app: &mut Running, count: usize) {
    for _ in 0..count {
        app.wait_for("the next commit", |line| line.starts_with("committed "));
    }
}

#[tokio::test]
async fn a_process_that_is_killed_loses_nothing_that_was_committed() {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("{SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("litestream.yml"), CONFIG).unwrap();
    let mut acknowledged = Acknowledged::default();
    for cycle in 0..CYCLES {
        let mut app = start(folder);
        if random.random_bool(KILLED_LATE) {
            app.wait_for("the first sync", |line| line.starts_with("durable "));
        }
        wait_for_commits(&mut app, random.random_range(0..COMMITS_MAX));
        if random.random_bool(KILLED_AFTER_SYNC) {
            app.wait_for("the next sync", |line| line.starts_with("durable "));
        }
        let ended = app.kill();
        acknowledged.read(&ended.printed);
        let found = in_replica(folder).await;
        assert!(
            (acknowledged.durable..=acknowledged.committed + 1).contains(&found),
            "cycle {cycle}: {found} of {acknowledged:?}"
        );
        println!("cycle {cycle}: {found} in the replica, {acknowledged:?}");
    }
    assert!(acknowledged.durable > 0, "no sync was ever confirmed");

    let mut app = start(folder);
    wait_for_commits(&mut app, COMMITS_LAST);
    let ended = app.finish();
    assert!(ended.status.success(), "{ended:#?}");
    acknowledged.read(&ended.printed);
    let path = folder.join("app.db");
    assert_eq!(oracle::check(&path, 1), [acknowledged.committed]);
    assert_eq!(in_replica(folder).await, acknowledged.committed);
    let restored = replica::restored(&folder.join("replica"), Target::Latest).await;
    let truth = database::bytes(&mut database::open(&path));
    database::assert_same_bytes(&restored, &truth, "the database");
    replica::assert_no_gap(&replica::increments(&folder.join("replica")).await);
}

/// The last transaction that a restore of the replica has, after which there is none and before
/// which none is missing.
async fn in_replica(folder: &Path) -> i64 {
    let replica = folder.join("replica");
    let output = tempfile::tempdir().unwrap();
    if replica::increments(&replica).await.is_empty() {
        return 0;
    }
    let path = replica::restore_into(&replica, Target::Latest, output.path()).await;
    oracle::check(&path, 1)[0]
}
