//! How the engine treats one database.

use std::path::PathBuf;
use std::time::Duration;

/// How one database is replicated.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseSettings {
    pub(crate) path: PathBuf,
    pub(crate) meta_path: Option<PathBuf>,
    pub(crate) sync_interval: Duration,
    pub(crate) monitor_interval: Duration,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) snapshot_interval: Duration,
    pub(crate) min_checkpoint_pages: u32,
    pub(crate) truncate_pages: u32,
    pub(crate) max_sync_bytes: u64,
}

#[cfg(test)]
impl DatabaseSettings {
    /// Litestream's defaults.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            meta_path: None,
            sync_interval: Duration::from_secs(1),
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            busy_timeout: Duration::from_secs(1),
            snapshot_interval: Duration::from_secs(24 * 60 * 60),
            min_checkpoint_pages: 1000,
            truncate_pages: 121_359,
            max_sync_bytes: 64 << 20,
        }
    }
}
