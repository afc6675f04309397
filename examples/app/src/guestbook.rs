//! The messages, in the application's own database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};
use serde::Serialize;
use tokio::sync::Mutex;

/// Messages on one page.
pub(crate) const PAGE_LEN: i64 = 50;

/// How long a write waits for the short lock of a checkpoint, before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_millis(5000);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS guestbook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
)";

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) message: String,
    /// In UTC, to the second, such as `2026-01-31T09:30:00Z`.
    pub(crate) created_at: String,
}

/// Messages, newest first.
pub(crate) struct Entries {
    pub(crate) entries: Vec<Entry>,
    /// How many there are in all.
    pub(crate) total: i64,
    /// Where the next page goes on: below this message.
    pub(crate) older_than: Option<i64>,
}

/// The settings that replication counts on.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Pragmas {
    journal_mode: String,
    /// Pages; 0 leaves every checkpoint to the replication.
    wal_autocheckpoint: i64,
    /// 1 is `NORMAL`.
    synchronous: i64,
    /// Milliseconds.
    busy_timeout: i64,
}

/// The one connection of the application. Clones share it.
#[derive(Clone)]
pub(crate) struct GuestBook {
    connection: Arc<Mutex<Connection>>,
}

impl GuestBook {
    /// Opens a database that exists, and makes the table if there is none.
    ///
    /// # Errors
    ///
    /// If there is no database, or one of the [`Pragmas`] is not in effect after it was set.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let db = path.display();
        // metadata only: opening and closing a database file drops the locks SQLite has on it.
        if std::fs::metadata(path).is_err() {
            bail!("no database at {db}: create it with `lockkeeper -dbpath {db} app create`");
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .with_context(|| format!("cannot open database {db}"))?;
        configure(&connection).with_context(|| format!("database {db}"))?;
        connection
            .execute_batch(SCHEMA)
            .with_context(|| format!("cannot write to database {db}"))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Commits a message. Returns its number.
    pub(crate) async fn add(&self, name: String, message: String) -> Result<i64> {
        self.run(move |db| {
            db.execute(
                "INSERT INTO guestbook (name, message) VALUES (?1, ?2)",
                params![name, message],
            )?;
            Ok(db.last_insert_rowid())
        })
        .await
    }

    /// The newest messages, or those older than one of them.
    pub(crate) async fn entries(&self, older_than: Option<i64>) -> Result<Entries> {
        self.run(move |db| {
            let (total, oldest): (i64, Option<i64>) =
                db.query_row("SELECT count(*), min(id) FROM guestbook", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let mut statement = db.prepare_cached(
                "SELECT id, name, message, created_at FROM guestbook
                 WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let rows =
                statement.query_map(params![older_than.unwrap_or(i64::MAX), PAGE_LEN], |row| {
                    Ok(Entry {
                        id: row.get(0)?,
                        name: row.get(1)?,
                        message: row.get(2)?,
                        created_at: row.get(3)?,
                    })
                })?;
            let entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let last = entries.last().map(|entry| entry.id);
            Ok(Entries {
                entries,
                total,
                older_than: last.filter(|last| Some(*last) > oldest),
            })
        })
        .await
    }

    /// The settings as they are now.
    pub(crate) async fn pragmas(&self) -> Result<Pragmas> {
        self.run(read_pragmas).await
    }

    /// Runs work that blocks, one piece at a time, away from the threads that serve requests.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&connection)).await;
        done.context("the work on the database died")?
            .context("the database refused")
    }
}

/// Sets what replication counts on, and reads it back: a pragma that fails, fails silently.
fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The log stays for the next start, which then sends increments and not the whole database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let wanted = Pragmas {
        journal_mode: "wal".to_owned(),
        wal_autocheckpoint: 0,
        synchronous: 1,
        busy_timeout: 5000,
    };
    let found = read_pragmas(connection)?;
    if found != wanted {
        bail!("SQLite did not take every setting: found {found:?}, wanted {wanted:?}");
    }
    Ok(())
}

fn read_pragmas(connection: &Connection) -> rusqlite::Result<Pragmas> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok(Pragmas {
        journal_mode: connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
        wal_autocheckpoint: number("wal_autocheckpoint")?,
        synchronous: number("synchronous")?,
        busy_timeout: number("busy_timeout")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, GuestBook) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE other (id)")
            .unwrap();
        let book = GuestBook::open(&path).unwrap();
        (dir, book)
    }

    #[test]
    fn a_database_that_cannot_have_a_log_is_refused() {
        let error = configure(&Connection::open_in_memory().unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("journal_mode: \"memory\""),
            "{error}"
        );
    }

    #[test]
    fn no_database_is_made_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        let error = GuestBook::open(&path).err().unwrap().to_string();
        assert!(error.contains("app create"), "{error}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn pages_go_from_the_newest_message_to_the_oldest_and_then_end() {
        let (_dir, book) = fixture();
        let count = 2 * PAGE_LEN;
        for n in 1..=count {
            assert_eq!(book.add("a".to_owned(), n.to_string()).await.unwrap(), n);
        }
        let ids = |page: &Entries| page.entries.iter().map(|e| e.id).collect::<Vec<_>>();
        let newest = book.entries(None).await.unwrap();
        assert_eq!(newest.total, count);
        assert_eq!(
            ids(&newest),
            (PAGE_LEN + 1..=count).rev().collect::<Vec<_>>()
        );
        let oldest = book.entries(newest.older_than).await.unwrap();
        assert_eq!(ids(&oldest), (1..=PAGE_LEN).rev().collect::<Vec<_>>());
        assert_eq!(oldest.older_than, None);
    }
}
