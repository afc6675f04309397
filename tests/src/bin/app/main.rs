//! The other process of the tests: an application that uses the same SQLite.
//!
//! - `visit DATABASE TABLE`: opens it, prints how many rows there are, closes.
//! - `commit DATABASE`: commits once for each line of its input.
//! - `write DATABASE WRITER COUNT`: opens it, commits as that writer of the oracle, closes.
//! - `replicate FOLDER`: embeds lockkeeper with the `litestream.yml` of the folder, and commits to
//!   its `app.db` as writer 1 of the oracle until its input ends. Prints `committed N` after each
//!   commit, and `durable N` when lockkeeper said so.
//! - `serve FOLDER`: does what it is told about the `app.db` of the folder, see
//!   [`lockkeeper_tests::subject`].
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod serve;

use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockkeeper::Lockkeeper;
use lockkeeper_tests::{database, oracle};
use tokio::sync::watch;

/// Between two commits: about two thousand of them per second, if the disk is fast enough.
const COMMIT_PAUSE: Duration = Duration::from_micros(300);
/// How long the last commits may take to become durable.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Commits between two syncs that are asked for; each of them makes a file of the replica.
const SYNC_COMMITS: i64 = 100;
/// How long to wait after a failed sync before the next.
const SYNC_PAUSE: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["visit", path, table] => visit(Path::new(path), table),
        ["commit", path] => commit(Path::new(path)),
        ["write", path, writer, count] => {
            let number = writer.parse().expect("a writer has a number");
            let mut writer = oracle::Writer::open(Path::new(path), number);
            for _ in 0..count.parse().expect("a count is a number") {
                writer.write();
            }
        }
        ["replicate", folder] => replicate(Path::new(folder)),
        ["serve", folder] => serve::serve(Path::new(folder)),
        _ => panic!("unknown arguments {arguments:?}"),
    }
}

fn visit(path: &Path, table: &str) {
    let connection = database::open(path);
    let rows: i64 = connection
        .query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .expect("count the rows");
    println!("{rows}");
}

fn commit(path: &Path) {
    let connection = database::open_without_checkpoints(path);
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS other (id INTEGER PRIMARY KEY)")
        .expect("make a table");
    println!("open");
    for line in stdin().lock().lines() {
        line.expect("read a line");
        connection
            .execute("INSERT INTO other DEFAULT VALUES", [])
            .expect("commit");
        println!("committed");
    }
}

fn log_warnings() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
}

fn replicate(folder: &Path) {
    log_warnings();
    let (committed, progress) = watch::channel(0);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (is_over, path) = (Arc::clone(&is_over), folder.join("app.db"));
        move || write(&path, &committed, &is_over)
    });
    std::thread::spawn(move || {
        for _ in stdin().lock().lines() {}
        is_over.store(true, Ordering::SeqCst);
    });
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("make a runtime")
        .block_on(keep(folder, progress, writer));
}

/// Commits until it is over; returns the connection, which must outlive replication.
fn write(path: &Path, committed: &watch::Sender<i64>, is_over: &AtomicBool) -> oracle::Writer {
    let mut writer = oracle::Writer::open(path, 1);
    while !is_over.load(Ordering::SeqCst) {
        let number = writer.write();
        println!("committed {number}");
        committed.send_replace(number);
        std::thread::sleep(COMMIT_PAUSE);
    }
    writer
}

/// Replicates until there are no more commits, then stops.
async fn keep(
    folder: &Path,
    mut progress: watch::Receiver<i64>,
    writer: std::thread::JoinHandle<oracle::Writer>,
) {
    let config = folder.join("litestream.yml");
    let config = std::fs::read_to_string(config).expect("read the configuration");
    let keeper = Lockkeeper::builder()
        .config(config)
        .base_dir(folder)
        .log_to(tracing::dispatcher::get_default(Clone::clone))
        .start()
        .await
        .expect("start replication");
    let mut next = 0;
    // Fails when the writer is done.
    while let Ok(committed) = progress
        .wait_for(|number| *number >= next)
        .await
        .map(|n| *n)
    {
        match keeper.sync().await {
            Ok(()) => {
                println!("durable {committed}");
                next = committed + SYNC_COMMITS;
            }
            Err(error) => {
                println!("not durable: {error}");
                tokio::time::sleep(SYNC_PAUSE).await;
            }
        }
    }
    let writer = writer.join().expect("the writer goes on");
    keeper.stop(STOP_DEADLINE).await.expect("flush and stop");
    drop(writer);
}
