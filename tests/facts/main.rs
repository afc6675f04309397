//! What SQLite and the operating system do, on which capture stands. One test per fact, on the
//! SQLite that is linked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commits;
mod descriptors;
mod held;
mod pages;
mod restarts;

use std::path::PathBuf;
use std::process::Command;

use lockkeeper_ltx::wal::{WAL_HEADER_LEN, WalHeader};
use lockkeeper_tests::{database, process};
use rusqlite::Connection;
use tempfile::TempDir;

/// A database of an application in this process, with one connection open.
struct App {
    _dir: TempDir,
    path: PathBuf,
    connection: Connection,
}

impl App {
    /// A database with one row, whose log is not copied.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let connection = database::open_without_checkpoints(&path);
        connection
            .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            .unwrap();
        let app = Self {
            _dir: dir,
            path,
            connection,
        };
        app.commit();
        app
    }

    /// Another connection of the same process.
    fn connect(&self) -> Connection {
        database::open_without_checkpoints(&self.path)
    }

    fn commit(&self) {
        commit(&self.connection);
    }

    /// Copies the log into the database. Returns whether it was kept from doing all of it, the
    /// frames of the log, and how many of them are copied.
    fn checkpoint(&self, mode: &str) -> (bool, i64, i64) {
        checkpoint(&self.connection, mode)
    }

    /// The header of the log file.
    fn log_header(&self) -> WalHeader {
        let log = std::fs::read(database::wal(&self.path)).unwrap();
        let header: &[u8; WAL_HEADER_LEN] = log.first_chunk().unwrap();
        WalHeader::parse(header).unwrap()
    }

    fn rows(&self) -> i64 {
        rows(&self.connection)
    }
}

fn commit(connection: &Connection) {
    connection
        .execute("INSERT INTO t (x) VALUES (randomblob(100))", [])
        .unwrap();
}

fn checkpoint(connection: &Connection, mode: &str) -> (bool, i64, i64) {
    connection
        .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap()
}

fn rows(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

/// The other process, with the same SQLite.
const OTHER: &str = env!("CARGO_BIN_EXE_lockkeeper-test-app");

/// Lets another process open the database, count the rows, and close it.
fn visit(app: &App) -> i64 {
    let ended = process::run(OTHER, &["visit", app.path.to_str().unwrap(), "t"]);
    ended.printed.last().unwrap().parse().unwrap()
}

/// Another process that has the database open and commits when told to.
struct OtherProcess(process::Running);

impl OtherProcess {
    fn start(app: &App) -> Self {
        let mut running = process::Running::start(Command::new(OTHER).arg("commit").arg(&app.path));
        running.wait_for("it had opened the database", |line| line == "open");
        Self(running)
    }

    fn commit(&mut self) {
        self.0.send_line("");
        self.0
            .wait_for("it had committed", |line| line == "committed");
    }

    fn close(self) {
        let ended = self.0.finish();
        assert!(ended.status.success(), "{ended:?}");
    }
}

#[test]
fn the_linked_sqlite_is_free_of_the_wal_reset_bug() {
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "{}",
        rusqlite::version()
    );
}
