use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::DecryptError;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use zeroize::Zeroizing;

use super::keys::Identities;
use super::schema;
use crate::{Error, Result};

/// The scope of the application's own configuration; an empty scope means this one.
pub const APPLICATION_SCOPE: &str = "application";
/// The scope of the replication configuration.
pub const LITESTREAM_SCOPE: &str = "litestream";
/// The largest configuration that is saved or opened, in bytes.
pub const PLAINTEXT_MAX: usize = 1024 * 1024;

/// Room for the age header and the tag of each chunk, beside [`PLAINTEXT_MAX`].
const CIPHERTEXT_MAX: usize = PLAINTEXT_MAX + 16 * 1024;
const BUSY_TIMEOUT: Duration = Duration::from_millis(5000);
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The configuration rows of one database, reached through SQLite only.
///
/// Opening and closing the file by other means would drop the locks that SQLite holds on it in
/// this process.
pub struct ConfigStore {
    path: PathBuf,
    connection: Connection,
}

/// One decrypted configuration.
pub struct Entry {
    /// The bytes that were saved.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// How to read them, such as `toml` or `yml`.
    pub format: String,
    /// Why they were saved.
    pub description: String,
    /// When, in UTC, to the second.
    pub created_at: String,
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
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("format", &self.format)
            .field("description", &self.description)
            .field("created_at", &self.created_at)
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
        })
    }

    /// Makes a new application database with one default configuration, or nothing at all.
    ///
    /// # Errors
    ///
    /// If `db_path`, or a WAL left of an earlier database there, exists, or it cannot be written.
    pub fn create(db_path: impl AsRef<Path>, identities: &Identities) -> Result<Self> {
        let path = db_path.as_ref();
        refuse_existing(path)?;
        let temp = TempDatabase::beside(path)?;
        {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let store = Self {
                path: path.to_owned(),
                connection: connect(&temp.path, flags)?,
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

    /// Saves `plaintext` as the newest generation of `scope`.
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
                "the configuration of scope '{scope}' is larger than 1 MiB: make it smaller"
            )));
        }
        let content = encrypt(identities, plaintext)?;
        self.connection
            .execute_batch(schema::APP_CONFIG)
            .map_err(|e| self.sqlite(e))?;
        // Never older than the newest row, or a clock set back would make this save look past.
        self.connection
            .execute(
                "INSERT INTO app_config (scope, content, format, description, created_at)
                 VALUES (?1, ?2, ?3, ?4, max(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), coalesce(
                     (SELECT max(created_at) FROM app_config WHERE scope = ?1), '')))",
                params![scope, content, format, description],
            )
            .map_err(|e| self.sqlite(e))?;
        Ok(())
    }

    /// Decrypts one generation of `scope`; 0 is the newest.
    ///
    /// # Errors
    ///
    /// If there is none, none of `identities` opens it, or it is damaged.
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
        if !self.has_table()? {
            return Err(missing());
        }
        let row = self
            .connection
            .query_row(
                "SELECT content, format, coalesce(description, ''), created_at FROM app_config
                 WHERE scope = ?1 ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?2",
                params![scope, generation],
                |row| {
                    let content: Vec<u8> = row.get(0)?;
                    Ok((content, row.get(1)?, row.get(2)?, row.get(3)?))
                },
            )
            .optional()
            .map_err(|e| self.sqlite(e))?;
        let (content, format, description, created_at) = row.ok_or_else(missing)?;
        let plaintext = self.decrypt(identities, scope, &content)?;
        Ok(Entry {
            plaintext,
            format,
            description,
            created_at,
        })
    }

    /// The saves of `scope`, newest first; of every scope when it is `None`.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn history(&self, scope: Option<&str>) -> Result<Vec<HistoryRow>> {
        if !self.has_table()? {
            return Ok(Vec::new());
        }
        self.rows(
            "SELECT row_number() OVER (
                 PARTITION BY scope ORDER BY created_at DESC, id DESC) - 1 AS generation,
                 scope, format, coalesce(description, ''), created_at
             FROM app_config WHERE ?1 IS NULL OR scope = ?1 ORDER BY scope, generation",
            params![scope],
            |row| {
                Ok(HistoryRow {
                    generation: row.get(0)?,
                    scope: row.get(1)?,
                    format: row.get(2)?,
                    description: row.get(3)?,
                    created_at: row.get(4)?,
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
        if !self.has_table()? {
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

    fn rows<T>(
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
    fn has_table(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema
                   WHERE type = 'table' AND name = 'app_config')";
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|e| self.sqlite(e))
    }

    fn decrypt(
        &self,
        identities: &Identities,
        scope: &str,
        content: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let damaged = |why: &dyn fmt::Display| {
            Error::corrupt(format!(
                "the configuration of scope '{scope}' in {} is damaged ({why}): roll back to an \
                 older generation, or save it again",
                self.path.display()
            ))
        };
        if content.len() > CIPHERTEXT_MAX {
            return Err(damaged(&"larger than 1 MiB"));
        }
        let opened = age::Decryptor::new_buffered(content)
            .and_then(|decryptor| decryptor.decrypt(identities.each()));
        let mut reader = opened.map_err(|error| match error {
            DecryptError::NoMatchingKeys => Error::invalid(format!(
                "none of the identities in {} opens the configuration of scope '{scope}' in {}: \
                 give the key file it was saved with",
                identities.path().display(),
                self.path.display()
            )),
            other => damaged(&other),
        })?;
        // Full capacity up front: a buffer that grows leaves unwiped copies behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(content.len()));
        reader
            .read_to_end(&mut plaintext)
            .map_err(|error| damaged(&error))?;
        Ok(plaintext)
    }

    fn sqlite(&self, error: rusqlite::Error) -> Error {
        sqlite_error(&self.path, error)
    }
}

fn or_application(scope: &str) -> &str {
    if scope.is_empty() {
        APPLICATION_SCOPE
    } else {
        scope
    }
}

fn encrypt(identities: &Identities, plaintext: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: &dyn fmt::Display| Error::internal(format!("cannot encrypt: {error}"));
    let recipient = identities.first_recipient()?;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _))
        .map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    let mut writer = encryptor
        .wrap_output(&mut content)
        .map_err(|error| failed(&error))?;
    writer
        .write_all(plaintext)
        .map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(content)
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

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> Error {
    Error::invalid(format!(
        "database {} already exists and is left untouched",
        path.display()
    ))
}

fn refuse_existing(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(exists(path));
    }
    // SQLite would replay the WAL of the earlier database into the new one.
    for sidecar in SIDECARS.map(|suffix| with_suffix(path, suffix)) {
        if fs::symlink_metadata(&sidecar).is_ok() {
            return Err(Error::invalid(format!(
                "{} is left of an earlier database: move it away first",
                sidecar.display()
            )));
        }
    }
    Ok(())
}

/// A database under a random name; removed unless published.
struct TempDatabase {
    path: PathBuf,
}

impl TempDatabase {
    fn beside(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            Error::invalid(format!("{} is not the name of a file", path.display()))
        })?;
        let mut temp = OsString::from(".");
        temp.push(name);
        temp.push(format!(".{:016x}.tmp", rand::random::<u64>()));
        Ok(Self {
            path: path.with_file_name(temp),
        })
    }

    /// Gives the finished database its name, unless another took it meanwhile.
    fn publish(&self, path: &Path) -> Result<()> {
        let failed = |error| {
            Error::unavailable(format!("cannot create database {}", path.display()))
                .with_source(error)
        };
        fs::hard_link(&self.path, path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => failed(error),
        })?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

impl Drop for TempDatabase {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        for sidecar in SIDECARS.map(|suffix| with_suffix(&self.path, suffix)) {
            let _ = fs::remove_file(sidecar);
        }
    }
}
