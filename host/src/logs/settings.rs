//! Where a log is kept, and how much of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use crate::config::{APPLICATION_SCOPE, ConfigStore, Identities};
use crate::{Error, ErrorKind, Result, paths};

const FILE_NAME: &str = "logs.db";
const QUEUE_MAX: usize = 1000;
const BATCH_MAX: usize = 100;
const INTERVAL: Duration = Duration::from_secs(5);
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const ROWS_MAX: u64 = 1_000_000;
/// More would only delay the last words of a process, or hold too much memory.
const QUEUE_LIMIT: usize = 100_000;
const INTERVAL_LIMIT: Duration = Duration::from_secs(60);

/// Settings of a [`LogDatabase`](super::LogDatabase).
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # use lockkeeper::config::{KeyFile, KeyFileCheck};
/// # let path = folder.path().join("key.txt");
/// # KeyFile::generate().write(&path)?;
/// # let identities = KeyFile::read(&path, KeyFileCheck::Strict)?;
/// use lockkeeper::config::ConfigStore;
/// use lockkeeper::logs::LogSettings;
///
/// let database = folder.path().join("app.db");
/// ConfigStore::create(&database, &identities)?;
/// let mut settings = LogSettings::of_application(&database, &identities)?;
/// assert_eq!(settings.path, std::path::Path::new("logs.db"));
/// settings.path = folder.path().join("logs.db");
/// settings.rows_max = 10_000;
/// settings.create()?;
/// # assert!(settings.path.is_file());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogSettings {
    /// The file.
    pub path: PathBuf,
    /// The least severe level that is kept.
    pub level: LevelFilter,
    /// Records that wait to be written; more are dropped.
    pub queue_max: usize,
    /// Records that are written together.
    pub batch_max: usize,
    /// How long a record waits for others.
    pub interval: Duration,
    /// How long a record is kept.
    pub retention: Duration,
    /// How many records are kept.
    pub rows_max: u64,
}

/// The part of the application's configuration that is about the log.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    log: Log,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Log {
    batch: Batch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Batch {
    db_path: Option<String>,
    level: Option<String>,
    chan_size: Option<usize>,
    flush_size: Option<usize>,
    flush_interval: Option<String>,
    retention: Option<String>,
    rows_max: Option<u64>,
}

impl LogSettings {
    /// A log in the file at `path`, with everything else as it is by default.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            level: LevelFilter::INFO,
            queue_max: QUEUE_MAX,
            batch_max: BATCH_MAX,
            interval: INTERVAL,
            retention: RETENTION,
            rows_max: ROWS_MAX,
        }
    }

    /// What the table `log.batch` of the scope `application` says: `db_path`, `level`, `chan_size`,
    /// `flush_size`, `flush_interval`, `retention` and `rows_max`. Without such a scope, or without
    /// a path, the log is `logs.db` beside the database at `db_path`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the configuration says something else than that, or names the database itself.
    /// Else as [`ConfigStore::get`].
    pub fn of_application(db_path: impl AsRef<Path>, identities: &Identities) -> Result<Self> {
        let database = db_path.as_ref();
        let store = ConfigStore::open(database)?;
        let scopes = store.scopes()?;
        let toml = if scopes.iter().any(|scope| scope == APPLICATION_SCOPE) {
            store.get(identities, APPLICATION_SCOPE, 0)?.plaintext
        } else {
            zeroize::Zeroizing::default()
        };
        let settings = Self::parse(&toml, &database.with_file_name(FILE_NAME))?;
        // Who writes a log into a database that is replicated sends it with every batch.
        if paths::resolve(&settings.path) == paths::resolve(database) {
            return Err(Error::invalid(format!(
                "log.batch.db_path is the application's database itself: name another file, such as \
                 {FILE_NAME}"
            )));
        }
        Ok(settings)
    }

    pub(super) fn parse(toml: &[u8], default: &Path) -> Result<Self> {
        // What the parser says quotes the text, which may hold a secret.
        let document: Document = toml::from_slice(toml).map_err(|_| {
            Error::invalid(
                "the configuration of the application is not TOML, or its log.batch is wrong",
            )
        })?;
        let batch = document.log.batch;
        let mut settings = Self::at(default);
        if let Some(path) = batch.db_path.filter(|path| !path.is_empty()) {
            settings.path = path.into();
        }
        if let Some(level) = batch.level {
            settings.level = level_of(&level)?;
        }
        let bounded =
            |wanted: Option<usize>, default: usize| wanted.unwrap_or(default).clamp(1, QUEUE_LIMIT);
        settings.queue_max = bounded(batch.chan_size, QUEUE_MAX);
        settings.batch_max = bounded(batch.flush_size, BATCH_MAX);
        if let Some(text) = batch.flush_interval {
            settings.interval = duration("flush_interval", &text)?.min(INTERVAL_LIMIT);
        }
        if let Some(text) = batch.retention {
            settings.retention = duration("retention", &text)?;
        }
        settings.rows_max = batch.rows_max.unwrap_or(ROWS_MAX).max(1);
        Ok(settings)
    }

    /// Makes the file and its table if they are not there.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that cannot be done.
    pub fn create(&self) -> Result<()> {
        super::file::LogFile::open(self).map(drop)
    }
}

fn level_of(text: &str) -> Result<LevelFilter> {
    let level = match text.to_ascii_lowercase().as_str() {
        "warning" => Ok(LevelFilter::WARN),
        other => other.parse(),
    };
    level.map_err(|_| {
        wrong(format!(
            "log.batch.level takes trace, debug, info, warn or error, not {text:?}"
        ))
    })
}

fn duration(name: &str, text: &str) -> Result<Duration> {
    humantime::parse_duration(text).map_err(|_| {
        wrong(format!(
            "log.batch.{name} takes a duration such as 5s, not {text:?}"
        ))
    })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
