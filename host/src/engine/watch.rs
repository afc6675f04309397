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
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = watcher
            .as_mut()
            .map(|watcher| watcher.watch(log, RecursiveMode::NonRecursive))
        {
            tracing::debug!(log = %log.display(), %error, "no notification; polling for commits");
        }
        Watch {
            watcher: Arc::clone(self),
            log: log.to_owned(),
        }
    }
}

/// Ends a watch when dropped.
pub(crate) struct Watch {
    watcher: Arc<LogWatcher>,
    log: PathBuf,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher
            .wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.log);
        let mut watcher = self
            .watcher
            .watcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = watcher.as_mut() {
            // The file may be gone, and its watch with it.
            let _ = watcher.unwatch(&self.log);
        }
    }
}
