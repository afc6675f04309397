//! The application that writes, and what it writes.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use rusqlite::{Connection, params};

/// Bytes of a row that fills a page of a table.
pub(crate) const ROW_BYTES: usize = 4000;
const TEXT: &[u8; 36] = b"a row of text that says little, ok..";

/// An application with one database.
#[derive(Debug)]
pub(crate) struct Application {
    connection: Connection,
    random: StdRng,
}

impl Application {
    /// Opens its database, which gets the one table it writes to.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, content BLOB NOT NULL);",
        )?;
        Ok(Self {
            connection,
            random: StdRng::seed_from_u64(7),
        })
    }

    /// Commits one small row.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let number: u64 = self.random.next_u64();
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO rows (content) VALUES (?1)")?;
        insert.execute([number.to_be_bytes()])?;
        Ok(())
    }

    /// Commits `count` small rows, `rate` of them in a second.
    pub(crate) fn commit_steadily(&mut self, count: u32, rate: u32) -> Result<()> {
        let started = Instant::now();
        for n in 0..count {
            self.commit()?;
            let due = started + Duration::from_secs(1) * n / rate;
            sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// Writes `count` rows that fill a page each, in one transaction, in place of the last ones.
    pub(crate) fn write_bulk(&mut self, count: u32) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2)")?;
            for id in 0..count {
                insert.execute(params![id, row(&mut self.random)])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Fills the database with `count` rows and leaves nothing in its log.
    pub(crate) fn fill(&mut self, count: u32) -> Result<()> {
        const AT_A_TIME: u32 = 10_000;
        for first in (0..count).step_by(AT_A_TIME as usize) {
            let transaction = self.connection.transaction()?;
            for id in first..count.min(first + AT_A_TIME) {
                transaction
                    .prepare_cached("INSERT INTO rows VALUES (?1, ?2)")?
                    .execute(params![id, row(&mut self.random)])?;
            }
            transaction.commit()?;
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

/// Compresses to about half of its size, as rows of text and numbers do.
pub(crate) fn row(random: &mut StdRng) -> Vec<u8> {
    let mut row = vec![0; ROW_BYTES];
    mix(&mut row, random);
    row
}

/// Fills with something that compresses to about half of its size.
pub(crate) fn mix(bytes: &mut [u8], random: &mut StdRng) {
    for cell in bytes.as_chunks_mut::<64>().0 {
        let (numbers, text) = cell.split_at_mut(64 - TEXT.len());
        random.fill(numbers);
        text.copy_from_slice(TEXT);
    }
}
