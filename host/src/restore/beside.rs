//! A database that is there, and the small files beside it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Mode, OFlags};

use super::output::{Output, suffixed};
use crate::Result;

/// Bytes of a file beside a database that are read at most.
const READ_MAX: u64 = 64;

impl Output {
    /// Whether there is a database. An empty file is none.
    pub(super) fn has_database(&self) -> Result<bool> {
        Ok(self.size_of("")?.is_some_and(|len| len > 0))
    }

    /// Whether a log with something in it stands beside the database.
    pub(super) fn has_log(&self) -> Result<bool> {
        Ok(self.size_of("-wal")?.is_some_and(|len| len > 0))
    }

    /// Opens the database. Closing it drops the locks that this process has on it.
    pub(super) fn open_database(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let opened = self.folder().open_with(self.name(), &options);
        Ok(opened.map_err(|e| self.failed("open", e))?.into_std())
    }

    /// The beginning of a text file beside the database; `None` if there is none.
    pub(super) fn read_beside(&self, suffix: &str) -> Result<Option<String>> {
        let mut options = OpenOptions::new();
        // Opening a pipe would wait for a writer.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let opened = self
            .folder()
            .open_with(suffixed(self.name(), suffix), &options);
        let mut text = String::new();
        match opened.and_then(|file| file.take(READ_MAX).read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed("read what is beside", e)),
        }
    }

    /// Writes a file beside the database; it is complete and safe, or as it was.
    pub(super) fn write_beside(&self, suffix: &str, bytes: &[u8]) -> Result<()> {
        let tmp = self.create_tmp()?;
        let written = tmp
            .file()
            .write_all(bytes)
            .and_then(|()| tmp.file().sync_all());
        written.map_err(|e| self.failed("write what is beside", e))?;
        tmp.rename(&suffixed(self.name(), suffix))
    }

    /// Makes an empty file beside the database, for those who may use that.
    pub(super) fn create_beside(&self, suffix: &str, database: &File) -> Result<File> {
        let create = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let name = suffixed(self.name(), suffix);
            let file = self.folder().open_with(name, &options)?.into_std();
            let mode = rustix::fs::fstat(database)?.st_mode;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            Ok(file)
        };
        create().map_err(|e| self.failed("write what is beside", e))
    }

    /// Removes a file beside the database for good.
    pub(super) fn remove_beside(&self, suffix: &str) -> Result<()> {
        let removed = self.folder().remove_file(suffixed(self.name(), suffix));
        removed.map_err(|e| self.failed("remove what is beside", e))?;
        self.sync_folder()
    }

    fn size_of(&self, suffix: &str) -> Result<Option<u64>> {
        match self
            .folder()
            .symlink_metadata(suffixed(self.name(), suffix))
        {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed("look at", e)),
        }
    }
}
