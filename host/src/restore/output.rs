use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Mode, OFlags};

use crate::{Error, Result};

/// A restored database is for its owner only, whatever the umask says.
const FILE_MODE: u32 = 0o600;
/// What SQLite keeps beside a database. It would apply such a file of an earlier database to the
/// restored one, and say nothing.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The place of the database to make: a name in a folder that stays open, so that nobody can put
/// another folder in its place meanwhile.
pub(super) struct Output {
    folder: Dir,
    folder_path: PathBuf,
    name: OsString,
    force: bool,
}

impl Output {
    /// Refuses what must not or may not be replaced.
    pub(super) fn prepare(path: &Path, force: bool) -> Result<Self> {
        let output = Self::locate(path)?;
        let output = Self { force, ..output };
        output.in_the_way()?;
        Ok(output)
    }

    /// The place of a database that is not to be replaced.
    pub(super) fn locate(path: &Path) -> Result<Self> {
        let no_path = || Error::invalid(format!("{} cannot be a database file", path.display()));
        let path = std::path::absolute(path).map_err(|e| no_path().with_source(e))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(no_path());
        };
        let folder = Dir::open_ambient_dir(parent, ambient_authority()).map_err(|e| {
            Error::invalid(format!("cannot open the folder {}", parent.display())).with_source(e)
        })?;
        let (folder_path, name) = (parent.to_owned(), name.to_owned());
        Ok(Self {
            folder,
            folder_path,
            name,
            force: false,
        })
    }

    pub(super) fn folder(&self) -> &Dir {
        &self.folder
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Where the database is.
    pub(super) fn path(&self) -> PathBuf {
        self.folder_path.join(&self.name)
    }

    /// Opens a new temporary file in the folder.
    pub(super) fn create_tmp(&self) -> Result<TmpImage<'_>> {
        // The name is random so that nobody can prepare a link there.
        let name = suffixed(&self.name, &format!(".{:016x}.tmp", rand::random::<u64>()));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = self
            .folder
            .open_with(&name, &options)
            .map_err(|e| self.failed("create", e))?;
        let tmp = TmpImage {
            output: self,
            name: Some(name),
            file: file.into_std(),
        };
        rustix::fs::fchmod(&tmp.file, Mode::from_raw_mode(FILE_MODE))
            .map_err(|e| self.failed("create", e.into()))?;
        Ok(tmp)
    }

    /// The suffixes of the files that stand where the database goes; the database's own is empty.
    fn in_the_way(&self) -> Result<Vec<&'static str>> {
        let mut found = Vec::new();
        for suffix in std::iter::once("").chain(SIDECARS) {
            let name = suffixed(&self.name, suffix);
            let path = self.folder_path.join(&name);
            let meta = match self.folder.symlink_metadata(&name) {
                Ok(meta) => meta,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(self.failed("look at", e)),
            };
            if !meta.is_file() {
                return Err(Error::invalid(format!(
                    "{} is not a regular file",
                    path.display()
                )));
            }
            // An empty database is nothing to lose; whoever made it wanted the place.
            if suffix.is_empty() && meta.len() == 0 {
                continue;
            }
            if !self.force {
                return Err(Error::invalid(format!("{} already exists", path.display())));
            }
            found.push(suffix);
        }
        Ok(found)
    }

    /// The database goes first: without it nobody takes what it and its log say for the truth.
    fn move_aside(&self) -> Result<Vec<PathBuf>> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
        let aside = suffixed(&self.name, &format!(".before-restore-{now}"));
        let mut moved = Vec::new();
        for suffix in self.in_the_way()? {
            let to = suffixed(&aside, suffix);
            if self.folder.symlink_metadata(&to).is_ok() {
                return Err(self.failed("move aside", io::ErrorKind::AlreadyExists.into()));
            }
            self.folder
                .rename(suffixed(&self.name, suffix), &self.folder, &to)
                .map_err(|e| self.failed("move aside", e))?;
            moved.push(self.folder_path.join(to));
        }
        Ok(moved)
    }

    pub(super) fn sync_folder(&self) -> Result<()> {
        let synced = self.folder.open(".").and_then(|folder| folder.sync_all());
        synced.map_err(|e| self.failed("sync the folder of", e))
    }

    pub(super) fn failed(&self, what: &str, source: io::Error) -> Error {
        let path = self.path();
        Error::unavailable(format!("cannot {what} {}", path.display())).with_source(source)
    }
}

/// The database while it is made; removed when dropped.
pub(super) struct TmpImage<'a> {
    output: &'a Output,
    name: Option<OsString>,
    file: File,
}

impl TmpImage<'_> {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> PathBuf {
        self.output
            .folder_path
            .join(self.name.as_deref().unwrap_or_default())
    }

    /// Gives the database its name. Returns where the files went that were in the way.
    pub(super) fn keep(self) -> Result<Vec<PathBuf>> {
        let output = self.output;
        let moved = output.move_aside()?;
        // The old names must be gone for good before the new database has the name: its own log
        // would be taken for the new one's after a power cut.
        if !moved.is_empty() {
            output.sync_folder()?;
        }
        self.rename(&output.name)?;
        Ok(moved)
    }

    /// Gives the file a name for good.
    pub(super) fn rename(mut self, to: &OsStr) -> Result<()> {
        if let Some(name) = &self.name {
            let renamed = self.output.folder.rename(name, &self.output.folder, to);
            renamed.map_err(|e| self.output.failed("create", e))?;
        }
        self.name = None;
        self.output.sync_folder()
    }
}

impl Drop for TmpImage<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // It has no name that anybody would open; there is nothing better to do about it.
            let _ = self.output.folder.remove_file(name);
        }
    }
}

pub(super) fn suffixed(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[track_caller]
    fn refused(path: &Path, force: bool, why: &str) {
        let Err(error) = Output::prepare(path, force) else {
            panic!("it was accepted")
        };
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn a_leftover_log_is_refused_even_without_a_database() {
        for suffix in SIDECARS {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(format!("a.db{suffix}")), "").unwrap();
            refused(&dir.path().join("a.db"), false, "already exists");
        }
    }

    #[test]
    fn a_link_a_folder_or_a_pipe_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        symlink("victim", path("link")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink("victim", path("b.db-wal")).unwrap();
        for name in ["link", "folder", "b.db"] {
            refused(&path(name), true, "is not a regular file");
        }
        refused(&path("missing/a.db"), false, "cannot open the folder");
    }

    #[test]
    fn force_moves_everything_aside_at_the_end_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "old").unwrap();
        fs::write(dir.path().join("a.db-wal"), "log").unwrap();
        refused(&path, false, "already exists");
        let output = Output::prepare(&path, true).unwrap();
        // Given up: nothing has moved, nothing is left.
        drop(output.create_tmp().unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

        let tmp = output.create_tmp().unwrap();
        fs::write(tmp.path(), "new").unwrap();
        let moved = tmp.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!dir.path().join("a.db-wal").exists());
        assert_eq!(moved.len(), 2);
        assert_eq!(fs::read_to_string(&moved[0]).unwrap(), "old");
        assert_eq!(fs::read_to_string(&moved[1]).unwrap(), "log");
        assert_eq!(
            moved[1].display().to_string(),
            format!("{}-wal", moved[0].display())
        );
    }

    #[test]
    fn an_empty_file_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "").unwrap();
        let output = Output::prepare(&path, false).unwrap();
        output.create_tmp().unwrap().keep().unwrap();
    }
}
