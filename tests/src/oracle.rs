//! A workload that shows every lost write.
//!
//! Each transaction inserts one row and moves a counter. Whatever happens, there must be as many
//! rows of a writer as its highest number and as its counter says: a lost, doubled or torn
//! transaction breaks one of the two.

use std::path::Path;

use rusqlite::Connection;

use crate::database;

/// Bytes of each row: some pages per few rows, so that trees split and overflow.
const BODY_BYTES: u32 = 300;

/// One writer of the workload.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    number: u32,
}

/// What a database holds of one writer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tally {
    /// Rows.
    pub rows: i64,
    /// The highest row number, 0 if there is none.
    pub last: i64,
    /// What the counter says.
    pub counter: i64,
}

impl Writer {
    /// Goes on where writer `number` left off in this database.
    #[must_use]
    pub fn open(path: &Path, number: u32) -> Self {
        let connection = database::open(path);
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS entry (
                     writer INTEGER, number INTEGER, body BLOB, PRIMARY KEY (writer, number)
                 );
                 CREATE TABLE IF NOT EXISTS counter (writer INTEGER PRIMARY KEY, last INTEGER);",
            )
            .expect("make the tables");
        connection
            .execute("INSERT OR IGNORE INTO counter VALUES (?1, 0)", [number])
            .expect("make the counter");
        Self { connection, number }
    }

    /// Commits one transaction; returns its number, counted from 1.
    pub fn write(&mut self) -> i64 {
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .expect("begin");
        let next: i64 = transaction
            .query_row(
                "UPDATE counter SET last = last + 1 WHERE writer = ?1 RETURNING last",
                [self.number],
                |row| row.get(0),
            )
            .expect("move the counter");
        transaction
            .execute(
                "INSERT INTO entry VALUES (?1, ?2, randomblob(?3))",
                rusqlite::params![self.number, next, BODY_BYTES],
            )
            .expect("insert a row");
        transaction.commit().expect("commit");
        next
    }

    /// The connection it writes through.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Checks a database, and tells how far each of the writers `1..=writers` came.
///
/// # Panics
///
/// If a transaction was lost, doubled or torn, or the database is damaged.
#[track_caller]
#[must_use]
pub fn check(path: &Path, writers: u32) -> Vec<i64> {
    let connection = database::open(path);
    database::assert_sound(&connection);
    (1..=writers)
        .map(|number| {
            let tally = tally(&connection, number);
            assert!(
                tally.rows == tally.last && tally.last == tally.counter,
                "writer {number}: {tally:?}"
            );
            tally.counter
        })
        .collect()
}

/// What a database holds of one writer; zeros if it never heard of it.
fn tally(connection: &Connection, number: u32) -> Tally {
    let known: bool = connection
        .query_row(
            "SELECT COUNT(*) = 2 FROM sqlite_schema WHERE name IN ('entry', 'counter')",
            [],
            |row| row.get(0),
        )
        .expect("read the schema");
    if !known {
        return Tally {
            rows: 0,
            last: 0,
            counter: 0,
        };
    }
    connection
        .query_row(
            "SELECT COUNT(*), COALESCE(MAX(number), 0),
                    COALESCE((SELECT last FROM counter WHERE writer = ?1), 0)
             FROM entry WHERE writer = ?1",
            [number],
            |row| {
                Ok(Tally {
                    rows: row.get(0)?,
                    last: row.get(1)?,
                    counter: row.get(2)?,
                })
            },
        )
        .expect("count the rows")
}
