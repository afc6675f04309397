//! The quickstart of the seed's README, from a start to a crash: B of its checklist.
#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use support::Folder;

/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// As `litestream.yml` of the README is, which sends within a second.
const README_YML: &str = "\
dbs:
  - path: ./app.db
    replicas:
      - type: file
        path: ./litestream-replicas
";

/// How many files of single transactions the replica has.
fn files(folder: &Folder) -> usize {
    let level = folder.path("litestream-replicas/ltx/0");
    fs::read_dir(level).map_or(0, |files| {
        let names = files.map(|file| file.expect("a file").path());
        names
            .filter(|path| path.extension().is_some_and(|end| end == "ltx"))
            .count()
    })
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(PAUSE);
    }
}

/// What another process does to the database, with a connection that comes and goes.
fn from_outside(database: &Path, sql: &str) {
    let other = Connection::open(database).expect("the database");
    other.busy_timeout(PATIENCE).expect("a wait");
    other.execute_batch(sql).expect("it is done");
}

#[test]
fn b3_it_answers_says_what_started_and_replicates_what_another_program_writes() {
    let folder = Folder::ready();
    folder.save("litestream", README_YML, "yml");
    let app = folder.start();
    assert_eq!(app.get("/api/list-endpoints").status, 200);
    let log = app.log.join("\n");
    for started in [
        "replicating as the litestream configuration says",
        "replicating database=",
        "listening on http://127.0.0.1:",
    ] {
        assert!(log.contains(started), "{started}: {log}");
    }
    let is_told = || {
        let stdout = fs::read_to_string(folder.path("stdout")).expect("text");
        stdout.contains("sealed every page")
    };
    until("the replication says what it does", is_told);
    app.sync();
    let before = files(&folder);
    from_outside(&folder.path("app.db"), "CREATE TABLE t (id INT)");
    until("a new file in the replica", || files(&folder) > before);
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn b3b_after_a_crash_what_was_written_meanwhile_is_in_the_replica_too() {
    let folder = Folder::ready();
    let app = folder.start();
    app.sign("durable");
    app.sync();
    app.sign("in the log only");
    app.signal(Signal::KILL);
    let (status, log) = app.ended();
    assert_eq!(status.code(), None, "{log}");
    let offline = "INSERT INTO guestbook (name, message) VALUES ('Ada', 'offline')";
    from_outside(&folder.path("app.db"), offline);
    let app = folder.start();
    app.sign("after the restart");
    app.signal(Signal::TERM);
    let (status, log) = app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let all = ["durable", "in the log only", "offline", "after the restart"];
    assert_eq!(folder.restored(), all);
}

#[test]
fn b0b_the_application_makes_its_log_by_itself() {
    let folder = Folder::ready();
    assert!(!folder.path("logs.db").exists());
    for _ in 0..2 {
        let app = folder.start();
        app.signal(Signal::TERM);
        let (status, stderr) = app.ended();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
    let log = Connection::open(folder.path("logs.db")).expect("the log");
    let sql = "SELECT count(*) FROM logs WHERE message LIKE 'listening on%'";
    let rows = log.query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(rows, Ok(2));
}
