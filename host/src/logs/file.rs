//! The SQLite file of a log.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::record::Record;
use super::settings::LogSettings;
use crate::config::LOGS_SCHEMA;
use crate::{Error, Result};

/// How long a batch waits for somebody who locks the file, before it is dropped.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The oldest rows that are looked at with each batch, which has fewer.
const PRUNED_MAX: i64 = 1000;

/// The open file.
pub(super) struct LogFile {
    connection: Connection,
    retention: Duration,
    rows_max: i64,
}

impl LogFile {
    /// Opens the file; makes it, and its table, if they are not there.
    pub(super) fn open(settings: &LogSettings) -> Result<Self> {
        let failed = |error| {
            let message = format!("cannot open the log {}", settings.path.display());
            Error::unavailable(message).with_source(error)
        };
        let connection = open(&settings.path).map_err(failed)?;
        Ok(Self {
            connection,
            retention: settings.retention,
            rows_max: i64::try_from(settings.rows_max).unwrap_or(i64::MAX),
        })
    }

    /// Appends a batch, and deletes what is too old; all of it or nothing.
    pub(super) fn append(&mut self, batch: &[Record]) -> rusqlite::Result<()> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO logs (level, message, data, created) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for record in batch {
                insert.execute(params![
                    record.level,
                    record.message,
                    record.data,
                    record.created
                ])?;
            }
        }
        prune(&transaction, self.retention, self.rows_max)?;
        transaction.commit()
    }

    /// Lets the file grow no further, as a full disk does.
    #[cfg(test)]
    pub(super) fn fill_up(&self) {
        self.connection
            .pragma_update(None, "max_page_count", 1)
            .unwrap();
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(LOGS_SCHEMA)?;
    Ok(connection)
}

/// Rows are numbered in the order in which they came, so the oldest are found without an index.
fn prune(
    transaction: &Transaction<'_>,
    retention: Duration,
    rows_max: i64,
) -> rusqlite::Result<()> {
    let oldest = jiff::Timestamp::now()
        .checked_sub(retention)
        .unwrap_or(jiff::Timestamp::MIN);
    transaction
        .prepare_cached(
            "DELETE FROM logs WHERE rowid IN (
                 SELECT rowid FROM (SELECT rowid, created FROM logs ORDER BY rowid LIMIT ?1)
                 WHERE created < ?2 OR rowid <= (SELECT max(rowid) FROM logs) - ?3)",
        )?
        .execute(params![PRUNED_MAX, format!("{oldest:.9}"), rows_max])?;
    Ok(())
}
