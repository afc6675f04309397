//! Learns of commits: the operating system tells when a log was written to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

type Wakes = Arc<Mutex<HashMap<PathBuf, Arc<Notify>>>>;

/// One watcher for the logs of all databases. Where the system offers no notification, or no more
/// of them, the tick of each database finds its commits.
#[derive(Debug)]
pub(crate) struct LogWatcher {
    watcher: Mutex<Option<RecommendedWatcher>>,
    wakes: Wakes,
}

impl LogWatcher {
    pub(crate) fn new() -> Self {
        let wakes = Wakes::default();
        let by_path = Arc::clone(&wakes);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            let wakes = lock(&by_path);
            if event.need_rescan() {
                // Some were dropped: it may have been any of them.
                return wakes.values().for_each(|wake| wake.notify_one());
            }
            // Our own reads are events too; they must not wake us.
            if event.kind.is_access() {
                return;
            }
            event
                .paths
                .iter()
                .filter_map(|path| wakes.get(path))
                .for_each(|wake| wake.notify_one());
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "no file notification; polling for commits"),
            )
            .ok();
        Self {
            watcher: Mutex::new(watcher),
            wakes,
        }
    }

    /// Wakes when the log of `database` changes or goes, until the returned guard is dropped. Not
    /// when the database does: each page that a checkpoint writes would be told of.
    pub(crate) fn watch(self: &Arc<Self>, database: &Path, wake: Arc<Notify>) -> Watch {
        let log = log_of(database);
        lock(&self.wakes).insert(log.clone(), wake);
        let mut watch = Watch {
            watcher: Arc::clone(self),
            log,
            is_listening: false,
        };
        watch.listen();
        watch
    }

    /// Wakes nobody any more, who all go on to believe that they would be woken.
    #[cfg(test)]
    pub(super) fn forget_everybody(&self) {
        lock(&self.wakes).clear();
    }

    fn listen(&self, log: &Path) -> bool {
        let mut watcher = lock(&self.watcher);
        let Some(watcher) = watcher.as_mut() else {
            return false;
        };
        let listening = watcher.watch(log, RecursiveMode::NonRecursive);
        listening
            .inspect_err(|error| {
                tracing::debug!(log = %log.display(), %error, "no notification; polling for commits");
            })
            .is_ok()
    }

    fn rest(&self, log: &Path) {
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            // The file may be gone, and its watch with it.
            let _ = watcher.unwatch(log);
        }
    }
}

/// Where SQLite keeps the log of a database.
fn log_of(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard stays whole when a holder panics: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a watch when dropped.
pub(crate) struct Watch {
    watcher: Arc<LogWatcher>,
    log: PathBuf,
    is_listening: bool,
}

impl Watch {
    /// Wakes again when there is a change from now on. `false` if nobody tells of changes.
    pub(crate) fn listen(&mut self) -> bool {
        if !self.is_listening {
            self.is_listening = self.watcher.listen(&self.log);
        }
        self.is_listening
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.is_listening
    }

    /// Does not wake until it listens again. While commits are batched nobody needs to know of
    /// each, and being told would cost more than sending them.
    pub(crate) fn rest(&mut self) {
        self.watcher.rest(&self.log);
        self.is_listening = false;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.watcher.wakes).remove(&self.log);
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_log_that_rests_wakes_nobody_until_it_listens_again() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &Path| std::fs::write(path, "frames").unwrap();
        let [database, other_database] = ["a", "b"].map(|name| dir.path().join(name));
        let (log, other) = (log_of(&database), log_of(&other_database));
        [&database, &other_database, &log, &other]
            .into_iter()
            .for_each(|path| write(path));
        let watcher = Arc::new(LogWatcher::new());
        let (wake, other_wake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut watch = watcher.watch(&database, Arc::clone(&wake));
        let _other = watcher.watch(&other_database, Arc::clone(&other_wake));

        watch.rest();
        write(&log);
        // Told of in order, so what comes before the other file's event has come.
        write(&other);
        let told = tokio::time::timeout(DEADLINE, other_wake.notified());
        told.await.expect("the other log is listened to");
        assert!(wake.notified().now_or_never().is_none());

        watch.listen();
        write(&log);
        let told = tokio::time::timeout(DEADLINE, wake.notified());
        told.await.expect("it listens again");
    }

    #[tokio::test]
    async fn a_log_that_is_replaced_or_removed_wakes() {
        for change in ["replaced", "removed"] {
            let dir = tempfile::tempdir().unwrap();
            let database = dir.path().join("a");
            let log = log_of(&database);
            std::fs::write(&log, "old").unwrap();
            let watcher = Arc::new(LogWatcher::new());
            let wake = Arc::new(Notify::new());
            let _watch = watcher.watch(&database, Arc::clone(&wake));
            if change == "removed" {
                std::fs::remove_file(&log).unwrap();
            } else {
                let new = dir.path().join("new");
                std::fs::write(&new, "new").unwrap();
                std::fs::rename(&new, &log).unwrap();
            }
            let told = tokio::time::timeout(DEADLINE, wake.notified());
            told.await.expect(change);
        }
    }
}
