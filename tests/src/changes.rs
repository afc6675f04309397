//! What an application writes, and what a database holds of it.
//!
//! Every transaction counts itself in the database. So whatever is restored says how many of them
//! it should hold, and [`State`] tells whether it holds exactly those.

use std::hash::{DefaultHasher, Hasher};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "
CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB);
CREATE TABLE u (id INTEGER PRIMARY KEY, x BLOB UNIQUE);
CREATE TABLE progress (commits INTEGER);
INSERT INTO progress VALUES (0);
";

/// What the application wrote, in the order in which it is compared.
const CONTENT: [&str; 2] = [
    "SELECT id, x FROM t ORDER BY id",
    "SELECT id, x FROM u ORDER BY id",
];

/// One change; what it writes follows from its numbers alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Change {
    /// Adds rows of this many bytes.
    Insert {
        /// How many.
        rows: u32,
        /// Bytes of each.
        bytes: u32,
        /// Says what is in them.
        seed: u64,
    },
    /// The same, with an index that has every byte once more.
    InsertIndexed {
        /// How many.
        rows: u32,
        /// Bytes of each.
        bytes: u32,
        /// Says what is in them.
        seed: u64,
    },
    /// Writes every n-th row again.
    Update {
        /// n.
        every: u32,
        /// Bytes of each.
        bytes: u32,
        /// Says what is in them.
        seed: u64,
    },
    /// Deletes every n-th row; all of them if n is 1.
    Delete {
        /// n.
        every: u32,
    },
    /// Makes the table with the index anew, empty.
    Recreate,
}

/// What a database holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// How many transactions it counts.
    pub commits: u32,
    /// A hash of what they wrote.
    pub content: u64,
}

/// Makes the tables.
///
/// # Errors
///
/// As SQLite.
pub fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT"))
}

/// Makes changes, and counts the transaction that makes them.
///
/// # Errors
///
/// As SQLite.
pub fn apply(transaction: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
    for change in changes {
        apply_one(transaction, change)?;
    }
    transaction.execute("UPDATE progress SET commits = commits + 1", [])?;
    Ok(())
}

fn apply_one(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match *change {
        Change::Insert { rows, bytes, seed } => insert(
            transaction,
            "INSERT INTO t (x) VALUES (?1)",
            rows,
            bytes,
            seed,
        ),
        Change::InsertIndexed { rows, bytes, seed } => {
            let sql = "INSERT OR REPLACE INTO u (x) VALUES (?1)";
            insert(transaction, sql, rows, bytes, seed)
        }
        Change::Update { every, bytes, seed } => {
            let blob = blob(seed, bytes);
            let sql = "UPDATE t SET x = ?1 WHERE id % ?2 = 0";
            transaction.execute(sql, (blob, every)).map(drop)
        }
        Change::Delete { every } => transaction
            .execute("DELETE FROM t WHERE id % ?1 = 0", [every])
            .map(drop),
        Change::Recreate => transaction
            .execute_batch("DROP TABLE u; CREATE TABLE u (id INTEGER PRIMARY KEY, x BLOB UNIQUE)"),
    }
}

fn insert(
    transaction: &Transaction<'_>,
    sql: &str,
    rows: u32,
    bytes: u32,
    seed: u64,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(sql)?;
    for row in 0..u64::from(rows) {
        statement.execute([blob(seed.wrapping_add(row), bytes)])?;
    }
    Ok(())
}

/// Half of them can be compressed, half cannot.
fn blob(seed: u64, bytes: u32) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut blob = vec![random.random(); usize::try_from(bytes).expect("a size")];
    if random.random_bool(0.5) {
        random.fill_bytes(&mut blob);
    }
    blob
}

/// What a database holds.
///
/// # Errors
///
/// As SQLite.
pub fn state(connection: &Connection) -> rusqlite::Result<State> {
    // One transaction, so that it is one state.
    let transaction = connection.unchecked_transaction()?;
    let commits = transaction.query_row("SELECT commits FROM progress", [], |row| row.get(0))?;
    let mut hasher = DefaultHasher::new();
    for sql in CONTENT {
        let mut statement = transaction.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            hasher.write_i64(row.get(0)?);
            if let ValueRef::Blob(bytes) = row.get_ref(1)? {
                hasher.write_usize(bytes.len());
                hasher.write(bytes);
            }
        }
    }
    Ok(State {
        commits,
        content: hasher.finish(),
    })
}
