//! The directories of one engine, each looked through by a task of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::directory::{self, Seen};
use super::fleet::{Fleet, lock};
use super::status::DirectoryStatus;
use crate::settings::DirectorySettings;

/// How long a look at a directory may take to end. A disk that hangs is left to itself.
const END_MAX: Duration = Duration::from_secs(10);

/// The tasks.
#[derive(Debug, Default)]
pub(super) struct Directories(Mutex<Vec<Running>>);

#[derive(Debug)]
struct Running {
    settings: DirectorySettings,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Directories {
    /// Looks through one more directory, whose members of the fleet are known already. Must be
    /// called within the runtime.
    pub(super) fn add(&self, settings: DirectorySettings, fleet: &Arc<Fleet>) {
        let members = fleet.members().into_iter().map(|member| member.path);
        let known: BTreeSet<PathBuf> = members.filter(|path| settings.has(path)).collect();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopping) = watch::channel(false);
        let look = directory::run(
            settings.clone(),
            known,
            Arc::clone(fleet),
            Arc::clone(&seen),
            stopping,
        );
        lock(&self.0).push(Running {
            settings,
            seen,
            stop,
            task: tokio::spawn(look),
        });
    }

    /// Looks no more. The databases that were found stay.
    pub(super) async fn stop(&self) {
        let all = std::mem::take(&mut *lock(&self.0));
        for directory in &all {
            directory.stop.send_replace(true);
        }
        for mut directory in all {
            let ended = tokio::time::timeout(END_MAX, &mut directory.task).await;
            if ended.is_err() {
                tracing::warn!(
                    directory = %directory.settings.path.display(), "a look at it does not end"
                );
                directory.task.abort();
            }
        }
    }

    pub(super) fn status(&self) -> Vec<DirectoryStatus> {
        let directories = lock(&self.0);
        let status = directories.iter().map(|directory| {
            let seen = lock(&directory.seen);
            DirectoryStatus {
                path: directory.settings.path.clone(),
                databases: seen.databases,
                error: seen.error.clone(),
            }
        });
        status.collect()
    }
}
