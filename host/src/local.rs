//! What the local disk says about a database, whether or not a process replicates it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lockkeeper_ltx::{FileName, Txid};

use crate::capture::PAGE_HASHES;
use crate::lock::StateLock;
use crate::settings::DatabaseSettings;
use crate::spool::local_files;
use crate::store::Replica;
use crate::{Error, Result};

/// A database of a configuration: one that is named there, or one of a directory that is.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let builder = lockkeeper::Lockkeeper::builder()
/// #     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path());
/// # let keeper = builder.clone().start().await?;
/// # keeper.sync().await?;
/// # keeper.stop(std::time::Duration::from_secs(15)).await?;
/// # let configuration = builder.read()?;
/// let database = configuration.database(&folder.path().join("app.db"))?;
/// let status = database.status()?;
/// assert!(status.exists && status.txid.is_some());
/// println!("{}: {} bytes of log", database.path().display(), status.wal_bytes);
/// println!("state in {}", database.state_directory().display());
/// println!("replica at {}", database.replica()?);
/// let would_go = database.reset(true)?; // a dry run
/// assert!(!would_go.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalDatabase {
    settings: DatabaseSettings,
}

/// What the local disk says about a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LocalStatus {
    /// Whether the database file exists.
    pub exists: bool,
    /// The last transaction in a sealed local file.
    pub txid: Option<Txid>,
    /// Size of the write-ahead log in bytes; 0 if there is none.
    pub wal_bytes: u64,
}

impl LocalDatabase {
    pub(crate) fn new(settings: DatabaseSettings) -> Self {
        Self { settings }
    }

    /// The database file, which need not exist.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Its replica. Nothing is read or written yet.
    ///
    /// # Errors
    ///
    /// `Invalid` if its settings do not lead to a replica.
    pub fn replica(&self) -> Result<Replica> {
        self.settings.replica.open()
    }

    /// Where its local state is.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        self.settings.meta_path()
    }

    /// Deletes what was captured locally, so that the next start goes on from the replica. What is
    /// not durable yet is sent then as part of the database as it is. With `dry_run` nothing is
    /// deleted. Returns the files.
    ///
    /// # Errors
    ///
    /// `Conflict` if a process replicates the database: stop it first. `Invalid` if the database
    /// does not exist. `Unavailable` if a file cannot be deleted; those before it are.
    pub fn reset(&self, dry_run: bool) -> Result<Vec<PathBuf>> {
        if size(&self.settings.path)?.is_none() {
            return Err(Error::invalid(format!(
                "the database {} does not exist",
                self.settings.path.display()
            )));
        }
        let meta = self.state_directory();
        if size(&meta)?.is_none() {
            return Ok(Vec::new());
        }
        let _lock = StateLock::acquire(&meta)?;
        let mut files = captured(&local_files(&meta))?;
        let hashes = meta.join(PAGE_HASHES);
        if size(&hashes)?.is_some() {
            files.push(hashes);
        }
        if !dry_run {
            for file in &files {
                std::fs::remove_file(file).map_err(|error| {
                    Error::unavailable(format!("cannot delete {}", file.display()))
                        .with_source(error)
                })?;
            }
        }
        Ok(files)
    }

    /// Reads names and sizes only: no file is opened, and nothing is made.
    ///
    /// # Errors
    ///
    /// `Unavailable` if a folder or a file cannot be looked at.
    pub fn status(&self) -> Result<LocalStatus> {
        let mut log = self.settings.path.as_os_str().to_owned();
        log.push("-wal");
        Ok(LocalStatus {
            exists: size(&self.settings.path)?.is_some(),
            txid: newest(&local_files(&self.state_directory()))?,
            wal_bytes: size(Path::new(&log))?.unwrap_or(0),
        })
    }
}

fn newest(folder: &Path) -> Result<Option<Txid>> {
    let last = |file: &PathBuf| Some(name_of(file)?.range().max());
    Ok(captured(folder)?.iter().filter_map(last).max())
}

/// The sealed files in a folder, by name.
fn captured(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("cannot read the directory {}", folder.display()))
            .with_source(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        if name_of(&file).is_some() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn name_of(file: &Path) -> Option<FileName> {
    file.file_name()?.to_str()?.parse().ok()
}

fn size(path: &Path) -> Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::unavailable(format!("cannot look at {}", path.display())).with_source(error))
        }
    }
}
