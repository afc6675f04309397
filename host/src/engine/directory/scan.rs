//! Which files of a directory are databases, without opening what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::capture::is_database;
use crate::settings::DirectorySettings;
use crate::{Error, Result};

/// Databases of one directory that one engine takes.
const DATABASES_MAX: usize = 100_000;
/// Files with a matching name that are no databases and are remembered as such.
const OTHERS_MAX: usize = 100_000;
/// Folders below a directory that is looked through recursively.
const FOLDERS_MAX: usize = 100_000;
/// A folder that changed so recently may change again without its time telling.
const TIME_TELLS_AFTER: Duration = Duration::from_secs(3);

/// What a look found.
#[derive(Debug)]
pub(super) struct Found {
    /// Every database; `None` if nothing changed since the last look.
    pub(super) databases: Option<BTreeSet<PathBuf>>,
    /// What could not be looked at; the databases there are those of the last look.
    pub(super) error: Option<String>,
}

/// The databases that are in a directory now.
///
/// # Errors
///
/// `Unavailable` if it cannot be read.
pub(crate) fn find_in_directory(settings: &DirectorySettings) -> Result<BTreeSet<PathBuf>> {
    let found = Scanner::new(settings.clone(), BTreeSet::new()).look()?;
    if let Some(error) = found.error {
        tracing::warn!(directory = %settings.path.display(), %error, "looked at the rest of it");
    }
    Ok(found.databases.unwrap_or_default())
}

/// Looks through a directory again and again. A folder whose time did not change is not read, and
/// a file that is known not opened: SQLite recognises those that are new, because opening one
/// ourselves and closing it again would drop the locks that this process holds on it.
#[derive(Debug)]
pub(super) struct Scanner {
    settings: DirectorySettings,
    databases: BTreeSet<PathBuf>,
    /// What else has a matching name, and how it looked; `None` if it could not be told what it is.
    others: BTreeMap<PathBuf, Option<Look>>,
    /// The folders that were read, and when each changed last before that.
    folders: BTreeMap<PathBuf, Option<SystemTime>>,
}

/// What tells that a file changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Look {
    file: u64,
    len: u64,
    modified: (i64, i64),
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Scanner {
    /// What is `known` is taken for a database for as long as there is a file.
    pub(super) fn new(settings: DirectorySettings, known: BTreeSet<PathBuf>) -> Self {
        Self {
            settings,
            databases: known,
            others: BTreeMap::new(),
            folders: BTreeMap::new(),
        }
    }

    /// # Errors
    ///
    /// `Unavailable` if the directory itself cannot be read: it is not known what is in it, so
    /// nothing is taken for gone.
    pub(super) fn look(&mut self) -> Result<Found> {
        let is_changed = match self.has_changed() {
            Ok(is_changed) => is_changed,
            Err(error) => return Err(unreadable(&self.settings.path, error)),
        };
        if !is_changed {
            return Ok(Found {
                databases: None,
                error: None,
            });
        }
        let mut reading = Reading::default();
        let mut folders = vec![self.settings.path.clone()];
        while let Some(folder) = folders.pop() {
            let is_root = folder == self.settings.path;
            match self.read(&folder, &mut folders, &mut reading) {
                Ok(()) => {}
                Err(error) if is_root => return Err(unreadable(&folder, error)),
                // It was removed while it was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let kept = self.databases.iter();
                    let kept = kept.filter(|path| path.starts_with(&folder)).cloned();
                    reading.databases.extend(kept);
                    reading.error = Some(unreadable(&folder, error).to_string());
                }
            }
        }
        self.databases.clone_from(&reading.databases);
        self.others = reading.others;
        // What could not be read is tried again.
        self.folders = match reading.error {
            None => reading.folders,
            Some(_) => BTreeMap::new(),
        };
        Ok(Found {
            databases: Some(reading.databases),
            error: reading.error,
        })
    }

    /// Whether a folder got or lost an entry, or a file that was no database may be one by now.
    fn has_changed(&self) -> io::Result<bool> {
        // The error for a directory that is not there.
        fs::metadata(&self.settings.path)?;
        let mut folders = self.folders.iter();
        let mut others = self.others.iter();
        Ok(self.folders.is_empty()
            || folders.any(|(folder, before)| {
                before.is_none() || changed_at(folder).ok().as_ref() != before.as_ref()
            })
            || others.any(|(path, look)| {
                let now = fs::symlink_metadata(path);
                look.is_none() || now.map(|now| Look::of(&now)).ok() != *look
            }))
    }

    fn read(
        &self,
        folder: &Path,
        folders: &mut Vec<PathBuf>,
        reading: &mut Reading,
    ) -> io::Result<()> {
        // Before the entries: what comes while they are read shows in the next look.
        let changed = changed_at(folder)?;
        let is_telling = changed.elapsed().is_ok_and(|age| age > TIME_TELLS_AFTER);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            // The type of the entry itself: a symbolic link is neither, so it cannot lead out.
            let kind = entry.file_type()?;
            if kind.is_dir() && self.settings.recursive && !is_state_folder(&path) {
                folders.push(path);
            } else {
                self.judge(path, kind, reading);
            }
        }
        reading
            .folders
            .insert(folder.to_owned(), is_telling.then_some(changed));
        if reading.folders.len() > FOLDERS_MAX {
            return Err(io::Error::other(format!("more than {FOLDERS_MAX} folders")));
        }
        Ok(())
    }

    fn judge(&self, path: PathBuf, kind: FileType, reading: &mut Reading) {
        if !kind.is_file() || is_sidecar(&path) || !self.settings.has(&path) {
            return;
        }
        if self.databases.contains(&path) {
            reading.databases.insert(path);
            return;
        }
        // Without one it is gone already.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            return;
        };
        let look = Some(Look::of(&metadata));
        if self.others.get(&path) == Some(&look) {
            reading.other(path, look);
            return;
        }
        match is_database(&path) {
            Ok(true) => reading.database(path, &self.settings.path),
            Ok(false) => reading.other(path, look),
            Err(error) => {
                reading.error = Some(format!("it is not known what this file is: {error}"));
                reading.other(path, None);
            }
        }
    }
}

/// What one look gathers.
#[derive(Debug, Default)]
struct Reading {
    databases: BTreeSet<PathBuf>,
    others: BTreeMap<PathBuf, Option<Look>>,
    folders: BTreeMap<PathBuf, Option<SystemTime>>,
    error: Option<String>,
}

impl Reading {
    fn database(&mut self, path: PathBuf, directory: &Path) {
        if self.databases.len() < DATABASES_MAX {
            self.databases.insert(path);
        } else {
            self.error = Some(format!(
                "{} has more than {DATABASES_MAX} databases; the others are not replicated",
                directory.display()
            ));
        }
    }

    fn other(&mut self, path: PathBuf, look: Option<Look>) {
        // What is not remembered is only looked at again.
        if self.others.len() < OTHERS_MAX {
            self.others.insert(path, look);
        }
    }
}

fn changed_at(folder: &Path) -> io::Result<SystemTime> {
    fs::metadata(folder)?.modified()
}

fn unreadable(folder: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot read the directory {}", folder.display())).with_source(error)
}

fn is_sidecar(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    ["-wal", "-shm", "-journal"]
        .iter()
        .any(|suffix| name.ends_with(suffix.as_bytes()))
}

fn is_state_folder(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .ends_with(b"-litestream")
}

#[cfg(test)]
mod tests;
