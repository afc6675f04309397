//! What the local disk says about a database, whether or not a process replicates it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lockkeeper_ltx::{FileName, Txid};

use crate::settings::DatabaseSettings;
use crate::spool::local_files;
use crate::store::Replica;
use crate::{Error, Result};

/// A database of a configuration: one that is named there, or one of a directory that is.
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
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("cannot read the directory {}", folder.display()))
            .with_source(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut newest = None;
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let name: Option<FileName> = name.to_str().and_then(|name| name.parse().ok());
        newest = newest.max(name.map(|name| name.range().max()));
    }
    Ok(newest)
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
