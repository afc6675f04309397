//! Learns of commits: the operating system tells when a log was written to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
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
            // Our own reads are events too; they must not wake us.
            if !matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_)) {
                return;
            }
            let wakes = by_path.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Calls `wake` when `log` changes, until the returned guard is dropped.
    pub(crate) fn watch(self: &Arc<Self>, log: &Path, wake: Arc<Notify>) -> Watch {
        self.wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(log.to_owned(), wake);
        let mut watch = Watch {
            watcher: Arc::clone(self),
            log: log.to_owned(),
            is_listening: false,
        };
        watch.listen();
        watch
    }

    fn listen(&self, log: &Path) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = watcher
            .as_mut()
            .map(|watcher| watcher.watch(log, RecursiveMode::NonRecursive))
        {
            tracing::debug!(log = %log.display(), %error, "no notification; polling for commits");
        }
    }

    fn rest(&self, log: &Path) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = watcher.as_mut() {
            // The file may be gone, and its watch with it.
            let _ = watcher.unwatch(log);
        }
    }
}

/// Ends a watch when dropped.
pub(crate) struct Watch {
    watcher: Arc<LogWatcher>,
    log: PathBuf,
    is_listening: bool,
}

impl Watch {
    /// Wakes again when the log changes from now on.
    pub(crate) fn listen(&mut self) {
        if !self.is_listening {
            self.watcher.listen(&self.log);
            self.is_listening = true;
        }
    }

    /// Does not wake until it listens again. While commits are batched nobody needs to know of
    /// each, and being told would cost more than sending them.
    pub(crate) fn rest(&mut self) {
        if self.is_listening {
            self.watcher.rest(&self.log);
            self.is_listening = false;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher
            .wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.log);
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
        let (log, other) = (dir.path().join("a-wal"), dir.path().join("b-wal"));
        let write = |path: &Path| std::fs::write(path, "frames").unwrap();
        [&log, &other].into_iter().for_each(|path| write(path));
        let watcher = Arc::new(LogWatcher::new());
        let (wake, other_wake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut watch = watcher.watch(&log, Arc::clone(&wake));
        let _other = watcher.watch(&other, Arc::clone(&other_wake));

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
}
