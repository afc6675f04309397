//! From what an application asks for to replication that runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::policy::{RestoreAction, RestoreFacts};
pub use lockkeeper_ltx::PageEncoding;
use tracing::Dispatch;

use crate::config::{ConfigStore, Identities, LITESTREAM_SCOPE};
use crate::configuration::{Configuration, Entry, Logging};
use crate::engine::{Common, Lockkeeper, LogWatcher};
use crate::logs::{Follow, ReplicationLog};
use crate::policy::trace::TraceSettings;
use crate::policy::{Component, Policy, PolicySource, Severity, StoredPolicies};
use crate::restore::{IntegrityCheck, RestoreOptions, RestorePlan, plan_restore, restore};
use crate::settings::DatabaseSettings;
use crate::{Error, ErrorKind, Result, clock};

/// The formats that a stored configuration may have.
const FORMATS: [&str; 2] = ["yml", "yaml"];

/// Says what to replicate, and how.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::policy::PolicySource;
/// use lockkeeper::policy::trace::TraceSettings;
/// use lockkeeper::{Lockkeeper, PageEncoding};
///
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// let keeper = Lockkeeper::builder()
///     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
///     .base_dir(folder.path()) // where relative paths start
///     .policy(PolicySource::Embedded)
///     .trace(TraceSettings::new(folder.path().join("decisions")))
///     .page_encoding(PageEncoding::Block)
///     .restore_if_missing(true)
///     .log_to(tracing::dispatcher::get_default(Clone::clone))
///     .start()
///     .await?;
/// keeper.stop(std::time::Duration::from_secs(15)).await?;
/// # Ok(())
/// # }
/// ```
///
/// With configuration and policies in the application's own database:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::Lockkeeper;
/// use lockkeeper::config::{KeyFile, KeyFileCheck};
/// use lockkeeper::policy::StoredPolicies;
///
/// # use lockkeeper::config::{ConfigStore, LITESTREAM_SCOPE};
/// # let (database, key) = (folder.path().join("app.db"), folder.path().join("key.txt"));
/// # KeyFile::generate().write(&key)?;
/// let identities = || KeyFile::read(&key, KeyFileCheck::Strict);
/// # let store = ConfigStore::create(&database, &identities()?)?;
/// # let text = b"dbs:\n  - path: app.db\n    replica: {path: backup}\n";
/// # store.save(&identities()?, LITESTREAM_SCOPE, text, "yml", "for the example")?;
/// let builder = Lockkeeper::builder()
///     .config_store(&database, identities()?)
///     .stored_policies(StoredPolicies::new(&database, identities()?));
/// let configuration = builder.read()?; // what is wrong shows before anything runs
/// assert_eq!(configuration.databases().count(), 1);
/// let same = Lockkeeper::builder().configuration(configuration);
/// # same.read()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is replicated before `start`"]
pub struct Builder {
    source: Option<Source>,
    base_dir: Option<PathBuf>,
    policy: PolicySource,
    stored_policies: Option<StoredPolicies>,
    trace: Option<TraceSettings>,
    encoding: PageEncoding,
    restore_if_missing: bool,
    log: Option<Dispatch>,
    follow: Follow,
}

/// Where the configuration is.
#[derive(Clone)]
enum Source {
    Text(String),
    File(PathBuf),
    Store(PathBuf, Arc<Identities>),
    Ready(Configuration),
}

/// A configuration may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Store(path, _) => f.debug_tuple("Store").field(path).finish(),
            Self::Ready(_) => f.write_str("Ready(…)"),
        }
    }
}

impl Builder {
    /// The text of a `litestream.yml`.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.source = Some(Source::Text(text.into()));
        self
    }

    /// A file that is a `litestream.yml`. It is read at the start and with each reload.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("litestream.yml");
    /// std::fs::write(&path, "dbs:\n  - path: app.db\n    replica: {path: backup}\n")?;
    /// let configuration = lockkeeper::Lockkeeper::builder().config_file(&path).read()?;
    /// assert!(configuration.diagnostics().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Some(Source::File(path.into()));
        self
    }

    /// The newest generation of the scope `litestream` in the database of the application.
    pub fn config_store(mut self, database: impl AsRef<Path>, identities: Identities) -> Self {
        self.source = Some(Source::Store(
            database.as_ref().to_owned(),
            Arc::new(identities),
        ));
        self
    }

    /// A configuration that was read before.
    pub fn configuration(mut self, configuration: Configuration) -> Self {
        self.source = Some(Source::Ready(configuration));
        self
    }

    /// Where relative paths of the configuration start; the current directory unless this is
    /// called.
    pub fn base_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.base_dir = Some(path.into());
        self
    }

    /// The policy component; the embedded one unless this is called.
    pub fn policy(mut self, source: PolicySource) -> Self {
        self.policy = source;
        self
    }

    /// Takes the policy from the scope `policy` of a configuration store, if there is one: the
    /// newest generation that works. One that is saved later takes its place within seconds, at
    /// once with [`Lockkeeper::reload_policy`]. The component of [`Builder::policy`] decides
    /// while there is none.
    pub fn stored_policies(mut self, stored: StoredPolicies) -> Self {
        self.stored_policies = Some(stored);
        self
    }

    /// Records what is decided and why, see [`trace`](crate::policy::trace).
    pub fn trace(mut self, settings: TraceSettings) -> Self {
        self.trace = Some(settings);
        self
    }

    /// How pages are compressed. [`PageEncoding::Frame`] makes files that Litestream before 0.5.16
    /// can read.
    pub fn page_encoding(mut self, encoding: PageEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Restores every database file that does not exist before replication starts, as if
    /// `restore-if-db-not-exists` were set for each.
    pub fn restore_if_missing(mut self, restore: bool) -> Self {
        self.restore_if_missing = restore;
        self
    }

    /// Sends the events of the replication itself to this subscriber, instead of to standard output
    /// or where `logging:` of the configuration sends them. With
    /// `tracing::dispatcher::get_default(Clone::clone)` they go where everything else goes.
    pub fn log_to(mut self, subscriber: impl Into<Dispatch>) -> Self {
        self.log = Some(subscriber.into());
        self
    }

    /// Called with `logging:` of each configuration that comes into force, from the first on, so
    /// that a subscriber given to [`Builder::log_to`] can follow it. Without one it is not called:
    /// the log then follows by itself.
    ///
    /// # Example
    ///
    /// ```
    /// use tracing::level_filters::LevelFilter;
    /// use tracing_subscriber::layer::SubscriberExt as _;
    /// let (level, changes) = tracing_subscriber::reload::Layer::new(LevelFilter::INFO);
    /// let own = tracing_subscriber::registry().with(level);
    /// let builder = lockkeeper::Lockkeeper::builder()
    ///     .log_to(own)
    ///     .on_logging(move |logging| {
    ///         // An error is a subscriber that is gone.
    ///         let _ = changes.reload(LevelFilter::from_level(logging.level));
    ///     });
    /// # drop(builder);
    /// ```
    pub fn on_logging(mut self, follow: impl Fn(&Logging) + Send + Sync + 'static) -> Self {
        self.follow = Follow::new(follow);
        self
    }

    /// Reads and validates the configuration. [`Builder::start`] does it as well.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is none, or it is not valid: [`Error::diagnostics`] has every problem.
    pub fn read(&self) -> Result<Configuration> {
        self.read_with(&self.component()?.0)
    }

    /// Whether policies come from a configuration store.
    pub(crate) fn has_stored_policies(&self) -> bool {
        self.stored_policies.is_some()
    }

    /// What decides from the start on, and why the newest stored policy does not if it should.
    fn component(&self) -> Result<(Component, Option<String>)> {
        let stored = self.stored_policies.as_ref();
        let (stored, refused) = stored.map(StoredPolicies::last_good).unwrap_or_default();
        let component = match stored {
            Some(component) => component,
            None => Component::load(&self.policy)?,
        };
        Ok((component, refused))
    }

    fn read_with(&self, component: &Component) -> Result<Configuration> {
        let base = self.base_dir.as_deref().unwrap_or(Path::new("."));
        match &self.source {
            Some(Source::Text(text)) => Configuration::read(text, component, base),
            Some(Source::File(path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let text = format!("cannot read the configuration {}", path.display());
                    Error::invalid(text).with_source(error)
                })?;
                Configuration::read(&text, component, base)
            }
            Some(Source::Store(path, identities)) => {
                let entry = ConfigStore::open(path)?.get(identities, LITESTREAM_SCOPE, 0)?;
                if !FORMATS.contains(&entry.format.as_str()) {
                    return Err(Error::invalid(format!(
                        "the configuration of scope '{LITESTREAM_SCOPE}' in {}: expected 'yaml' or \
                         'yml', found '{}'; save it again as a .yml file",
                        path.display(),
                        entry.format
                    )));
                }
                let text = std::str::from_utf8(&entry.plaintext).map_err(|_| {
                    Error::invalid(format!(
                        "the configuration of scope '{LITESTREAM_SCOPE}' in {} is not text",
                        path.display()
                    ))
                })?;
                let mut configuration = Configuration::read(text, component, base)?;
                if let Some(warning) = entry.warning() {
                    configuration.warn("unsealed", warning);
                }
                Ok(configuration)
            }
            Some(Source::Ready(configuration)) => Ok(configuration.clone()),
            None => Err(Error::invalid(
                "there is no configuration: call `config` or `config_store` before `start`",
            )),
        }
    }

    /// Starts replication on a thread of its own. Returns as soon as it runs; whether a database
    /// can be captured and its replica reached shows in [`Lockkeeper::status`].
    ///
    /// # Errors
    ///
    /// `Invalid` if the configuration or the component is not valid, or as
    /// [`restore`](crate::restore::restore) if a missing database could not be restored.
    pub async fn start(self) -> Result<Lockkeeper> {
        let (component, refused) = self.component()?;
        let configuration = self.read_with(&component)?;
        self.report(&configuration);
        let entries = self.entries(&configuration);
        let policy = Policy::start(component, self.trace.as_ref(), self.stored_policies)?;
        if let Some(why) = refused {
            policy.refuse(why);
        }
        Self::restore_missing(entries.iter(), &policy).await?;
        let common = Common {
            policy,
            encoding: self.encoding,
            watcher: Arc::new(LogWatcher::new()),
        };
        let log = match self.log {
            Some(subscriber) => ReplicationLog::given(subscriber, self.follow),
            None => ReplicationLog::configured(&configuration.logging),
        };
        let databases = entries.len();
        let keeper = Lockkeeper::spawn(entries, common, log)?;
        tracing::info!(
            databases,
            "replicating as the litestream configuration says"
        );
        keeper.begin_beside(configuration).await;
        Ok(keeper)
    }

    /// Logs what the component says of a configuration.
    pub(crate) fn report(&self, configuration: &Configuration) {
        for found in configuration.diagnostics() {
            match found.severity {
                Severity::Note => tracing::info!("litestream configuration: {found}"),
                _ => tracing::warn!("litestream configuration: {found}"),
            }
        }
    }

    /// What a configuration names, as this builder wants it.
    pub(crate) fn entries(&self, configuration: &Configuration) -> Vec<Entry> {
        let mut entries = configuration.databases.clone();
        for entry in &mut entries {
            let settings = entry.settings_mut();
            settings.restore_if_missing |= self.restore_if_missing;
        }
        entries
    }

    /// Restores the database files that do not exist, where that is wanted.
    pub(crate) async fn restore_missing(
        entries: impl Iterator<Item = &Entry>,
        policy: &Policy,
    ) -> Result<()> {
        for entry in entries {
            if let Entry::File(settings) = entry
                && settings.restore_if_missing
            {
                restore_missing(settings, policy).await?;
            }
        }
        Ok(())
    }
}

/// Restores a database that does not exist, if the policy agrees. One that has no backup yet is
/// left to the application.
async fn restore_missing(settings: &DatabaseSettings, policy: &Policy) -> Result<()> {
    if settings.path.exists() {
        return Ok(());
    }
    let replica = settings.replica.open()?;
    let options = RestoreOptions {
        integrity_check: IntegrityCheck::Quick,
        ..RestoreOptions::new(&settings.path)
    };
    let planned = match plan_restore(&replica, options.target).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            tracing::info!(
                database = %settings.path.display(), %replica,
                "the database does not exist and has no backup"
            );
            return Ok(());
        }
        planned => planned?,
    };
    approve(settings, policy, &planned).await?;
    let restored = restore(&replica, options).await?;
    tracing::info!(
        database = %settings.path.display(), %replica, txid = %restored.txid,
        "restored the missing database"
    );
    Ok(())
}

/// # Errors
///
/// `Invalid` if the policy does not agree: an empty database in the place of the one that has a
/// backup would be replicated over it.
async fn approve(
    settings: &DatabaseSettings,
    policy: &Policy,
    planned: &RestorePlan,
) -> Result<()> {
    let name = settings.path.file_name().unwrap_or_default();
    let newest = match planned {
        RestorePlan::Ltx(plan) => plan.files().last(),
        // Its format numbers no transactions.
        RestorePlan::Generation(_) => None,
    };
    let facts = RestoreFacts {
        now_ms: u64::try_from(clock::now_ms()).unwrap_or(0),
        action: RestoreAction::RestoreMissing,
        database: name.to_string_lossy().into_owned(),
        newest_txid: newest.map_or(0, |file| file.range().max().get()),
        newest_created_ms: newest.map(ReplicaFile::created_unix_ms),
        ..RestoreFacts::default()
    };
    let policy = policy.for_database(&settings.path.to_string_lossy());
    let asked = tokio::task::spawn_blocking(move || policy.approve_restore(&facts)).await;
    let approved = asked.map_err(|error| {
        Error::internal("the policy was not asked about a restore").with_source(error)
    })?;
    approved.map_err(|reason| {
        Error::invalid(format!(
            "the policy does not let the missing database {} be restored: {reason}",
            settings.path.display()
        ))
    })
}
