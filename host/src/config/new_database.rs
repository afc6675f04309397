//! A database file that appears whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

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

pub(super) fn refuse_existing(path: &Path) -> Result<()> {
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
pub(super) struct TempDatabase {
    path: PathBuf,
}

impl TempDatabase {
    /// Where to make it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn beside(path: &Path) -> Result<Self> {
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
    pub(super) fn publish(&self, path: &Path) -> Result<()> {
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
