//! A directory of databases, which come and go.

mod scan;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use self::scan::find_in_directory;
use self::scan::{Found, Scanner};
use super::database::blocking;
use super::fleet::{Fleet, lock};
use crate::Result;
use crate::settings::DirectorySettings;

/// How often a watched directory is looked at: soon enough for a new database, and cheap, for it
/// is read only if its entries changed.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// What the last look showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) databases: usize,
    pub(super) error: Option<String>,
}

/// Replicates what is in a directory, and what comes later if it is watched, until `stopping`.
/// What is `known` is replicated already.
pub(super) async fn run(
    settings: DirectorySettings,
    mut known: BTreeSet<PathBuf>,
    fleet: Arc<Fleet>,
    seen: Arc<Mutex<Seen>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut scanner = Scanner::new(settings.clone(), known.clone());
    loop {
        let looked = blocking(move || {
            let found = scanner.look();
            Ok((scanner, found))
        });
        let found;
        (scanner, found) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return tracing::error!(%error, "a directory is not looked at any more"),
        };
        let error = match found {
            Ok(Found { databases, error }) => {
                if let Some(databases) = databases {
                    change(&settings, &fleet, &known, &databases).await;
                    known = databases;
                }
                error
            }
            Err(error) => Some(error.to_string()),
        };
        tell(&settings, &seen, known.len(), error);
        if !settings.watch && !known.is_empty() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(SCAN_INTERVAL) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn change(
    settings: &DirectorySettings,
    fleet: &Fleet,
    known: &BTreeSet<PathBuf>,
    found: &BTreeSet<PathBuf>,
) {
    for gone in known.difference(found) {
        tracing::info!(database = %gone.display(), "the database is gone");
        fleet.remove(gone).await;
    }
    let members: BTreeSet<PathBuf> = fleet.members().into_iter().map(|it| it.path).collect();
    // One that has an entry of its own is not replicated a second time.
    for new in found
        .difference(known)
        .filter(|new| !members.contains(*new))
    {
        if let Err(error) = add(settings, fleet, new) {
            tracing::error!(database = %new.display(), %error, "cannot replicate the database");
        }
    }
}

fn add(settings: &DirectorySettings, fleet: &Fleet, path: &Path) -> Result<()> {
    let Some(database) = settings.database(path) else {
        return Ok(());
    };
    tracing::info!(database = %path.display(), "found a database");
    fleet.add_waiting(database)
}

/// Says once what is wrong, and once that it is over.
fn tell(settings: &DirectorySettings, seen: &Mutex<Seen>, databases: usize, error: Option<String>) {
    let mut seen = lock(seen);
    seen.databases = databases;
    if seen.error == error {
        return;
    }
    let directory = settings.path.display();
    match &error {
        Some(error) => tracing::error!(%directory, %error, "cannot look for databases"),
        None => tracing::info!(%directory, "can look for databases again"),
    }
    seen.error = error;
}
