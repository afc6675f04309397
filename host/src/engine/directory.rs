//! A directory of databases, which come and go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::database::blocking;
use super::fleet::Fleet;
use crate::capture::is_database;
use crate::settings::DirectorySettings;
use crate::{Error, Result};

/// How often a watched directory is read: soon enough for a new database, and cheap, for files that
/// are known are not looked at.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// Databases of one directory that one engine takes.
const DATABASES_MAX: usize = 100_000;

/// Replicates what is in a directory, and what comes later if it is watched, until `stopping`.
pub(super) async fn run(
    settings: DirectorySettings,
    fleet: Arc<Fleet>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut known: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        let (scan, before) = (settings.clone(), known.clone());
        match blocking(move || find(&scan, &before)).await {
            Ok(found) => {
                for gone in known.difference(&found) {
                    tracing::info!(database = %gone.display(), "the database is gone");
                    fleet.remove(gone).await;
                }
                for new in found.difference(&known) {
                    add(&settings, &fleet, new);
                }
                known = found;
            }
            Err(error) => {
                tracing::error!(directory = %settings.path.display(), %error, "cannot look for databases");
            }
        }
        if !settings.watch && !known.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(SCAN_INTERVAL) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

fn add(settings: &DirectorySettings, fleet: &Fleet, path: &Path) {
    let Some(database) = settings.database(path) else {
        return;
    };
    tracing::info!(database = %path.display(), "found a database");
    if let Err(error) = fleet.add_waiting(database) {
        tracing::error!(database = %path.display(), %error, "cannot replicate the database");
    }
}

/// The databases that are in a directory now.
///
/// # Errors
///
/// `Unavailable` if it cannot be read.
pub(crate) fn find_in_directory(settings: &DirectorySettings) -> Result<BTreeSet<PathBuf>> {
    find(settings, &BTreeSet::new())
}

/// The databases in a directory, some of which were there `before`. Files are recognised through
/// SQLite: opening one ourselves and closing it again would drop the locks that this process holds
/// on it.
fn find(settings: &DirectorySettings, before: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![settings.path.clone()];
    while let Some(folder) = folders.pop() {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("cannot read the directory {}", folder.display()))
                .with_source(error)
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // The type of the entry itself: a symbolic link is neither, so it cannot lead out.
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && settings.recursive && !is_state_folder(&path) {
                folders.push(path);
            } else if kind.is_file()
                && found.len() < DATABASES_MAX
                && settings.database(&path).is_some()
                && !is_sidecar(&path)
                && (before.contains(&path) || is_database(&path))
            {
                found.insert(path);
            }
        }
    }
    Ok(found)
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
