use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use zeroize::Zeroizing;

use super::blob::{self, Closed, PLAINTEXT_MAX};
use super::keys::Identities;
use super::new_database::{TempDatabase, refuse_existing};
use super::schema;
use super::seen::Seen;
use crate::{Error, Result};

/// The scope of the application's own configuration; an empty scope means this one.
pub const APPLICATION_SCOPE: &str = "application";
/// The scope of the replication configuration.
pub const LITESTREAM_SCOPE: &str = "litestream";

/// Reads no more of a content than shows that it is too large.
const SELECT_ROW: &str = "SELECT id, substr(content, 1, ?1), format, coalesce(description, ''),
    created_at FROM app_config";
const BUSY_TIMEOUT: Duration = Duration::from_millis(5000);

/// The configuration rows of one database, reached through SQLite only.
///
/// Opening and closing the file by other means would drop the locks that SQLite holds on it in
/// this process.
pub struct ConfigStore {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) seen: Seen,
}

/// One decrypted configuration.
pub struct Entry {
    /// Whose configuration it is.
    pub scope: String,
    /// The bytes that were saved.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// How to read them, such as `toml` or `yml`.
    pub format: String,
    /// Why they were saved.
    pub description: String,
    /// When, in UTC, to the second.
    pub created_at: String,
    /// Whether it has a seal, which was verified. Without one, anybody who writes to the database
    /// may have put it there.
    pub sealed: bool,
}

/// One save, without its content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryRow {
    /// 0 is the newest of its scope.
    pub generation: u32,
    /// Whose configuration it is.
    pub scope: String,
    /// How to read it.
    pub format: String,
    /// Why it was saved.
    pub description: String,
    /// When, in UTC, to the second.
    pub created_at: String,
    /// Whether it has a seal; it is not verified here.
    pub sealed: bool,
}

/// A save as the database has it.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) content: Vec<u8>,
    pub(super) format: String,
    pub(super) description: String,
    pub(super) created_at: String,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            content: row.get(1)?,
            format: row.get(2)?,
            description: row.get(3)?,
            created_at: row.get(4)?,
        })
    }
}

impl Entry {
    /// What the operator has to know before trusting it; `None` if all is well.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!self.sealed).then(|| {
            format!(
                "the configuration of scope '{0}' has no seal: whoever writes to the database may \
                 have put it there; look at it, then seal it with `lockkeeper config reseal -scope \
                 {0}`",
                self.scope
            )
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("scope", &self.scope)
            .field("format", &self.format)
            .field("description", &self.description)
            .field("created_at", &self.created_at)
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConfigStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ConfigStore {
    /// Opens an existing database.
    ///
    /// # Errors
    ///
    /// If there is no database at `db_path`, or SQLite cannot open it.
    pub fn open(db_path: impl AsRef<Path>) -> Result<Self> {
        let path = db_path.as_ref();
        // metadata only: the file itself is never opened here.
        if fs::metadata(path).is_err() {
            return Err(Error::invalid(format!(
                "no database at {0}: create it with `lockkeeper -dbpath {0} app create`",
                path.display()
            )));
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            seen: Seen::beside(path),
        })
    }

    /// Makes a new application database with one default configuration, or nothing at all.
    ///
    /// # Errors
    ///
    /// If `db_path`, or a WAL left of an earlier database there, exists, or it cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # use lockkeeper::config::{KeyFile, KeyFileCheck};
    /// # let path = folder.path().join("key.txt");
    /// # KeyFile::generate().write(&path)?;
    /// # let identities = KeyFile::read(&path, KeyFileCheck::Strict)?;
    /// use lockkeeper::config::{ConfigStore, LITESTREAM_SCOPE};
    ///
    /// let store = ConfigStore::create(folder.path().join("app.db"), &identities)?;
    /// for path in ["first", "second"] {
    ///     let text = format!("dbs:\n  - path: app.db\n    replica: {{path: {path}}}\n");
    ///     store.save(&identities, LITESTREAM_SCOPE, text.as_bytes(), "yml", path)?;
    /// }
    /// let newest = store.get(&identities, LITESTREAM_SCOPE, 0)?;
    /// assert_eq!((newest.description.as_str(), newest.warning()), ("second", None));
    /// store.rollback(&identities, LITESTREAM_SCOPE, 1)?; // saves the one before once more
    /// assert_eq!(store.history(Some(LITESTREAM_SCOPE))?.len(), 3);
    /// assert_eq!(store.scopes()?, ["application", "litestream"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn create(db_path: impl AsRef<Path>, identities: &Identities) -> Result<Self> {
        let path = db_path.as_ref();
        refuse_existing(path)?;
        Seen::beside(path).forget()?;
        let temp = TempDatabase::beside(path)?;
        {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let store = Self {
                path: path.to_owned(),
                connection: connect(temp.path(), flags)?,
                seen: Seen::beside(path),
            };
            let run = |sql| {
                store
                    .connection
                    .execute_batch(sql)
                    .map_err(|e| store.sqlite(e))
            };
            run("PRAGMA journal_mode = WAL")?;
            run(schema::APP_CONFIG)?;
            run(schema::APPLICATION)?;
            run(schema::LOGS)?;
            store.save(
                identities,
                APPLICATION_SCOPE,
                schema::DEFAULT_CONFIG.as_bytes(),
                "toml",
                "Initial default configuration",
            )?;
            store
                .connection
                .close()
                .map_err(|(_, error)| sqlite_error(path, error))?;
        }
        temp.publish(path)?;
        Self::open(path)
    }

    /// Saves `plaintext` as the newest generation of `scope`, with a seal of the first identity.
    ///
    /// # Errors
    ///
    /// If it is larger than [`PLAINTEXT_MAX`], or the database cannot be written.
    pub fn save(
        &self,
        identities: &Identities,
        scope: &str,
        plaintext: &[u8],
        format: &str,
        description: &str,
    ) -> Result<()> {
        let scope = or_application(scope);
        if plaintext.len() > PLAINTEXT_MAX {
            return Err(Error::invalid(format!(
                "the configuration of scope '{scope}' is larger than 8 MiB: make it smaller"
            )));
        }
        let content = blob::encrypt(identities, plaintext)?;
        let transaction = self.begin()?;
        // Never older than the newest row, or a clock set back would make this save look past.
        let (id, created_at) = transaction
            .query_row(
                "INSERT INTO app_config (scope, content, format, description, created_at)
                 VALUES (?1, ?2, ?3, ?4, max(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), coalesce(
                     (SELECT max(created_at) FROM app_config WHERE scope = ?1), '')))
                 RETURNING id, created_at",
                params![scope, content, format, description],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(|e| self.sqlite(e))?;
        let row = Row {
            id,
            content,
            format: format.to_owned(),
            description: description.to_owned(),
            created_at,
        };
        let sequence = self.next_sequence(scope)?;
        self.put_seal(identities, scope, &row, sequence)?;
        transaction.commit().map_err(|e| self.sqlite(e))?;
        self.seen.note(scope, sequence);
        Ok(())
    }

    /// Decrypts one generation of `scope`; 0 is the newest.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is none, or none of `identities` opens it. `Corrupt` if it is damaged, or
    /// its seal does not fit it, or it has none while others of its scope do. `Conflict` if a newer
    /// one was there before.
    pub fn get(&self, identities: &Identities, scope: &str, generation: u32) -> Result<Entry> {
        let scope = or_application(scope);
        let missing = || {
            let which = if generation == 0 {
                String::new()
            } else {
                format!(" generation {generation}")
            };
            Error::invalid(format!(
                "no configuration for scope '{scope}'{which} in {}",
                self.path.display()
            ))
        };
        if !self.has_table("app_config")? {
            return Err(missing());
        }
        let row = self.row(scope, generation)?.ok_or_else(missing)?;
        let plaintext = self.decrypt(identities, scope, &row.content)?;
        let sealed = self.check_seal(identities, scope, &row, generation)?;
        Ok(Entry {
            scope: scope.to_owned(),
            plaintext,
            format: row.format,
            description: row.description,
            created_at: row.created_at,
            sealed,
        })
    }

    /// The saves of `scope`, newest first; of every scope when it is `None`.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn history(&self, scope: Option<&str>) -> Result<Vec<HistoryRow>> {
        if !self.has_table("app_config")? {
            return Ok(Vec::new());
        }
        let sealed = if self.has_table(schema::SEALS_NAME)? {
            "id IN (SELECT config_id FROM lockkeeper_config_seals)"
        } else {
            "0"
        };
        self.rows(
            &format!(
                "SELECT row_number() OVER (
                     PARTITION BY scope ORDER BY created_at DESC, id DESC) - 1 AS generation,
                     scope, format, coalesce(description, ''), created_at, {sealed}
                 FROM app_config WHERE ?1 IS NULL OR scope = ?1 ORDER BY scope, generation"
            ),
            params![scope],
            |row| {
                Ok(HistoryRow {
                    generation: row.get(0)?,
                    scope: row.get(1)?,
                    format: row.get(2)?,
                    description: row.get(3)?,
                    created_at: row.get(4)?,
                    sealed: row.get(5)?,
                })
            },
        )
    }

    /// The scopes that have a configuration, sorted.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn scopes(&self) -> Result<Vec<String>> {
        if !self.has_table("app_config")? {
            return Ok(Vec::new());
        }
        self.rows(
            "SELECT DISTINCT scope FROM app_config ORDER BY scope",
            [],
            |row| row.get(0),
        )
    }

    /// Saves an older generation of `scope` again, as the newest.
    ///
    /// # Errors
    ///
    /// As [`ConfigStore::get`] and [`ConfigStore::save`]; also for generation 0.
    pub fn rollback(&self, identities: &Identities, scope: &str, generation: u32) -> Result<()> {
        if generation == 0 {
            return Err(Error::invalid(
                "invalid generation 0: that is the newest already; give 1 or more",
            ));
        }
        let old = self.get(identities, scope, generation)?;
        let description = format!("Rollback to generation {generation}");
        self.save(identities, scope, &old.plaintext, &old.format, &description)
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare(sql).map_err(|e| self.sqlite(e))?;
        let rows = statement
            .query_map(values, read)
            .map_err(|e| self.sqlite(e))?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(|e| self.sqlite(e))
    }

    /// A database of another making has no such table, which is not a failure.
    pub(super) fn has_table(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema
                   WHERE type = 'table' AND name = ?1)";
        self.connection
            .query_row(sql, [name], |row| row.get(0))
            .map_err(|e| self.sqlite(e))
    }

    fn row(&self, scope: &str, generation: u32) -> Result<Option<Row>> {
        self.connection
            .query_row(
                &format!(
                    "{SELECT_ROW} WHERE scope = ?2 ORDER BY created_at DESC, id DESC
                     LIMIT 1 OFFSET ?3"
                ),
                params![blob::READ_MAX, scope, generation],
                Row::read,
            )
            .optional()
            .map_err(|e| self.sqlite(e))
    }

    pub(super) fn row_by_id(&self, id: i64) -> Result<Row> {
        self.connection
            .query_row(
                &format!("{SELECT_ROW} WHERE id = ?2"),
                params![blob::READ_MAX, id],
                Row::read,
            )
            .map_err(|e| self.sqlite(e))
    }

    /// Begins to write; makes the tables if there are none.
    pub(super) fn begin(&self) -> Result<Transaction<'_>> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(|e| self.sqlite(e))?;
        transaction
            .execute_batch(schema::APP_CONFIG)
            .and_then(|()| transaction.execute_batch(schema::SEALS))
            .map_err(|e| self.sqlite(e))?;
        Ok(transaction)
    }

    fn decrypt(
        &self,
        identities: &Identities,
        scope: &str,
        content: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let database = self.path.display();
        blob::decrypt(identities, content).map_err(|closed| match closed {
            Closed::NoMatchingKey => Error::invalid(format!(
                "none of the identities in {} opens the configuration of scope '{scope}' in \
                 {database}: give the key file it was saved with",
                identities.path().display(),
            )),
            Closed::Damaged(why) => Error::corrupt(format!(
                "the configuration of scope '{scope}' in {database} is damaged ({why}): roll back \
                 to an older generation, or save it again",
            )),
        })
    }

    pub(super) fn sqlite(&self, error: rusqlite::Error) -> Error {
        sqlite_error(&self.path, error)
    }
}

pub(super) fn or_application(scope: &str) -> &str {
    if scope.is_empty() {
        APPLICATION_SCOPE
    } else {
        scope
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| sqlite_error(path, error))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(|error| sqlite_error(path, error))?;
    Ok(connection)
}

fn sqlite_error(path: &Path, error: rusqlite::Error) -> Error {
    let message = format!("database {}", path.display());
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            Error::corrupt(message).with_source(error)
        }
        _ => Error::unavailable(message).with_source(error),
    }
}
