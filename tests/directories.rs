//! Directories of databases: no lock is lost by looking, many begin without a stampede, and what is
//! found is what the official program finds.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockkeeper::{Lockkeeper, Status};
use lockkeeper_tests::database::shm;
use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::kernel::locks_on;
use lockkeeper_tests::litestream::Litestream;
use rusqlite::Connection;

const DEADLINE: Duration = Duration::from_secs(240);
/// Each test counts what the whole process has.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Databases of one directory.
const MANY: usize = 1_000;
/// Requests at a time, of all databases.
const REQUESTS_MAX: usize = 64;
/// Threads of replication: its own, those for work that blocks, one for the time of the policy, one
/// that notes its decisions, and one that writes the log.
const THREADS_MAX: usize = 1 + 8 + 1 + 1 + 1;

fn make(path: &Path) -> Connection {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let app = Connection::open(path).unwrap();
    app.execute_batch(
        "PRAGMA synchronous = off; PRAGMA journal_mode = wal;
         CREATE TABLE t (x); INSERT INTO t VALUES (1)",
    )
    .unwrap();
    app
}

fn config(root: &Path, replica: &str) -> String {
    format!(
        "dbs: [{{dir: '{}', pattern: '*.db', recursive: true, watch: true, replica: {replica}}}]\n",
        root.display()
    )
}

async fn start(config: &str) -> Lockkeeper {
    Lockkeeper::builder().config(config).start().await.unwrap()
}

async fn until(keeper: &Lockkeeper, wanted: impl Fn(&Status) -> bool) {
    let waited = async {
        while !wanted(&keeper.status()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waited)
        .await
        .expect("it comes to that");
}

#[tokio::test]
async fn f3_looking_at_a_database_takes_no_lock_away_from_the_application() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let writing = make(&root.join("wal.db"));
    writing
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)")
        .unwrap();
    let reading = make(&root.join("journal.db"));
    reading
        .execute_batch("PRAGMA journal_mode = delete; BEGIN")
        .unwrap();
    reading
        .query_row("SELECT count(*) FROM t", [], |_| Ok(()))
        .unwrap();
    let files = [
        root.join("wal.db"),
        shm(&root.join("wal.db")),
        root.join("journal.db"),
    ];
    let before = files.each_ref().map(|file| locks_on(file));
    assert!(before.iter().all(|locks| *locks > 0), "{before:?}");

    let keeper = start(&config(
        &root,
        &format!("{{path: '{}'}}", dir.path().join("r").display()),
    ))
    .await;
    until(&keeper, |status| status.databases.len() == 2).await;
    for (file, before) in files.iter().zip(before) {
        assert!(locks_on(file) >= before, "{}", file.display());
    }
    writing.execute_batch("COMMIT").unwrap();
    reading.execute_batch("COMMIT").unwrap();
    keeper.stop(DEADLINE).await.unwrap();
}

/// Threads of this process that replicate.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("lockkeeper"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_databases_begin_without_a_stampede() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    for number in 0..MANY {
        make(&dir.path().join(format!("{number}.db")));
    }
    let server = FakeGcs::start();
    let is_over = AtomicBool::new(false);
    let threads_max = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(threads());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let work = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(begin(&dir, &server))
        });
        is_over.store(true, Ordering::Relaxed);
        work.unwrap_or_else(|error| panic!("{error}"));
        watcher.join().unwrap()
    });
    assert!(threads_max <= THREADS_MAX, "{threads_max} threads");
    let waiting = server.waiting_max();
    assert!(waiting <= REQUESTS_MAX, "{waiting} requests at a time");
}

/// Begins with every database, and waits until all of it is durable.
async fn begin(dir: &tempfile::TempDir, server: &FakeGcs) -> lockkeeper::Result<()> {
    let keeper = start(&config(dir.path(), &server.replica("many"))).await;
    until(&keeper, |status| status.databases.len() == MANY).await;
    tokio::time::timeout(DEADLINE, keeper.sync())
        .await
        .expect("in time")?;
    assert!(
        keeper
            .status()
            .databases
            .iter()
            .all(|it| it.durable.is_some())
    );
    keeper.stop(DEADLINE).await
}

/// The databases that have a replica below `root`, by their paths.
fn replicas(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("ltx") {
                found.insert(folder.strip_prefix(root).unwrap().to_owned());
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn the_same_databases_are_found_as_by_the_official_program() {
    let _alone = ALONE.lock().await;
    let Some(litestream) = Litestream::find("0.5.17") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("data"), dir.path().join("outside"));
    let _apps =
        ["a.db", "deep/down/b.db", "odd name.db", ".hidden.db"].map(|name| make(&root.join(name)));
    let _others = ["a.sqlite", "deep/c.sqlite"].map(|name| make(&root.join(name)));
    let _outside = make(&outside.join("x.db"));
    fs::write(root.join("empty.db"), "").unwrap();
    fs::write(root.join("text.db"), "no database, but named like one").unwrap();
    symlink(&outside, root.join("folder")).unwrap();

    let theirs = dir.path().join("theirs");
    let path = dir.path().join("litestream.yml");
    fs::write(
        &path,
        config(&root, &format!("{{path: '{}'}}", theirs.display())),
    )
    .unwrap();
    litestream.replicate_config_once(&path);
    // It takes this one and then cannot replicate it: SQLite has its log beside the real file.
    symlink(outside.join("x.db"), root.join("linked.db")).unwrap();
    let ours = dir.path().join("ours");
    let keeper = start(&config(&root, &format!("{{path: '{}'}}", ours.display()))).await;
    until(&keeper, |status| status.databases.len() == 4).await;
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();

    let found = replicas(&ours);
    assert_eq!(found.len(), 4);
    assert_eq!(found, replicas(&theirs));
}
