//! How the engine treats databases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;
use crate::spool::default_meta_path;
use crate::store::Replica;
use crate::store::cloud::{AzurePlace, GcsPlace, S3Place};

/// How one database is replicated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DatabaseSettings {
    pub(crate) path: PathBuf,
    pub(crate) meta_path: Option<PathBuf>,
    pub(crate) monitor_interval: Duration,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) busy_timeout: Duration,
    pub(crate) min_checkpoint_pages: u32,
    pub(crate) truncate_pages: u32,
    pub(crate) max_sync_bytes: u64,
    pub(crate) restore_if_missing: bool,
    /// How often a failed upload is tried again while replication stops.
    pub(crate) shutdown_retry: Duration,
    pub(crate) life: LifeSettings,
    pub(crate) replica: ReplicaSettings,
}

/// How long files live in a replica, and what becomes of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LifeSettings {
    /// The intervals of levels 1 and up.
    pub(crate) levels: Vec<Duration>,
    pub(crate) snapshot_interval: Duration,
    pub(crate) snapshot_retention: Duration,
    /// How long single transactions are kept after they were merged; zero keeps them.
    pub(crate) l0_retention: Duration,
    pub(crate) l0_retention_check: Duration,
    /// How often the replica is restored and compared with the database; `None` for never.
    pub(crate) validation: Option<Duration>,
    /// Whether files are ever deleted from the replica.
    pub(crate) retention: bool,
}

impl Default for LifeSettings {
    /// Litestream's defaults.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            levels: [30, 300, 3600].map(Duration::from_secs).to_vec(),
            snapshot_interval: DAY,
            snapshot_retention: DAY,
            l0_retention: Duration::from_secs(300),
            l0_retention_check: Duration::from_secs(15),
            validation: None,
            retention: true,
        }
    }
}

impl DatabaseSettings {
    /// Litestream's defaults.
    pub(crate) fn new(path: impl Into<PathBuf>, replica: ReplicaSettings) -> Self {
        Self {
            path: path.into(),
            meta_path: None,
            monitor_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(60),
            busy_timeout: Duration::from_secs(1),
            min_checkpoint_pages: 1000,
            truncate_pages: 121_359,
            max_sync_bytes: 64 << 20,
            restore_if_missing: false,
            shutdown_retry: Duration::from_millis(500),
            life: LifeSettings::default(),
            replica,
        }
    }

    /// Where local state is kept.
    pub(crate) fn meta_path(&self) -> PathBuf {
        self.meta_path
            .clone()
            .unwrap_or_else(|| default_meta_path(&self.path))
    }
}

/// Where a database goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReplicaSettings {
    pub(crate) place: ReplicaPlace,
    pub(crate) sync_interval: Duration,
}

/// The kinds of replica.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReplicaPlace {
    /// A folder.
    File(PathBuf),
    /// A bucket of S3 or of a service like it.
    S3(S3Place),
    /// A bucket of Google Cloud Storage.
    Gcs(GcsPlace),
    /// A container of Azure Blob Storage.
    Azure(AzurePlace),
    /// What a test prepared.
    #[cfg(test)]
    Given(Replica),
}

impl ReplicaSettings {
    /// How long commits wait, unless it is configured otherwise.
    pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(1);

    /// The replica itself. Nothing is read or written yet.
    pub(crate) fn open(&self) -> Result<Replica> {
        match &self.place {
            ReplicaPlace::File(path) => Replica::file(path),
            ReplicaPlace::S3(place) => place.open(),
            ReplicaPlace::Gcs(place) => place.open(),
            ReplicaPlace::Azure(place) => place.open(),
            #[cfg(test)]
            ReplicaPlace::Given(replica) => Ok(replica.clone()),
        }
    }

    /// The same, further down: for one of many databases.
    fn below(&self, relative: &Path) -> Self {
        let place = match &self.place {
            ReplicaPlace::File(path) => ReplicaPlace::File(path.join(relative)),
            ReplicaPlace::S3(place) => ReplicaPlace::S3(place.below(relative)),
            ReplicaPlace::Gcs(place) => ReplicaPlace::Gcs(place.below(relative)),
            ReplicaPlace::Azure(place) => ReplicaPlace::Azure(place.below(relative)),
            #[cfg(test)]
            ReplicaPlace::Given(replica) => ReplicaPlace::Given(replica.clone()),
        };
        Self {
            place,
            ..self.clone()
        }
    }
}

/// A directory whose databases are replicated, each below the place of the replica by its own path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DirectorySettings {
    pub(crate) path: PathBuf,
    pub(crate) pattern: glob::Pattern,
    pub(crate) recursive: bool,
    pub(crate) watch: bool,
    /// Where each database has its state under its usual name.
    pub(crate) meta_path: Option<PathBuf>,
    /// Where each database has its state under its path.
    pub(crate) meta_dir: Option<PathBuf>,
    /// What holds for each of them, with the directory in the place of the path.
    pub(crate) database: DatabaseSettings,
}

impl DirectorySettings {
    /// Whether a database at `path` is one of this directory.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let Ok(relative) = path.strip_prefix(&self.path) else {
            return false;
        };
        let name = relative.file_name().and_then(|name| name.to_str());
        let is_direct = relative.parent() == Some(Path::new(""));
        name.is_some_and(|name| self.pattern.matches(name)) && (is_direct || self.recursive)
    }

    /// The settings of the database at `path`, which need not exist; `None` if it is not one of
    /// this directory.
    pub(crate) fn database(&self, path: &Path) -> Option<DatabaseSettings> {
        if !self.has(path) {
            return None;
        }
        let relative = path.strip_prefix(&self.path).ok()?;
        let meta_path = match (&self.meta_path, &self.meta_dir) {
            (Some(base), _) => Some(base.join(default_meta_path(relative))),
            (None, Some(base)) => {
                let mut name = relative.as_os_str().to_owned();
                name.push("-litestream");
                Some(base.join(name))
            }
            (None, None) => None,
        };
        Some(DatabaseSettings {
            path: path.to_owned(),
            meta_path,
            replica: self.database.replica.below(relative),
            ..self.database.clone()
        })
    }
}
