use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockkeeper_ltx::PageEncoding;

use super::database::Database;
use super::status::DatabaseShared;
use super::watch::LogWatcher;
use super::Lockkeeper;
use crate::config::{ConfigStore, KeyFile, KeyFileCheck};
use crate::policy::{Plan, Policy};
use crate::{Error, Result, settings};

/// The scope of the configuration store that holds `litestream.yml`.
const SCOPE: &str = "litestream";

/// Collects what [`Lockkeeper`] needs to start.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    source: Option<Source>,
    base_dir: Option<PathBuf>,
    policy: Option<Arc<[u8]>>,
    encoding: PageEncoding,
}

#[derive(Clone)]
enum Source {
    Text(String),
    File(PathBuf),
    Store { database: PathBuf, key: PathBuf, check: KeyFileCheck },
}

/// Configurations hold credentials, so the text is not printed.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Store { database, .. } => f.debug_tuple("Store").field(database).finish(),
        }
    }
}

impl Builder {
    /// The text of a `litestream.yml`.
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.source = Some(Source::Text(yaml.into()));
        self
    }

    /// A `litestream.yml` on disk.
    #[must_use]
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Some(Source::File(path.into()));
        self
    }

    /// The newest `litestream` scope of the configuration store in `database`, opened with the age
    /// identities in `key`.
    #[must_use]
    pub fn config_store(mut self, database: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.source = Some(Source::Store {
            database: database.into(),
            key: key.into(),
            check: KeyFileCheck::Strict,
        });
        self
    }

    /// Accepts a key file that others may read, or that is a link.
    #[must_use]
    pub fn insecure_key_file(mut self) -> Self {
        if let Some(Source::Store { check, .. }) = &mut self.source {
            *check = KeyFileCheck::Override;
        }
        self
    }

    /// Where relative paths of the configuration begin. The current directory if not set.
    #[must_use]
    pub fn base_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.base_dir = Some(path.into());
        self
    }

    /// The bytes of a policy component to use in place of the built-in one.
    #[must_use]
    pub fn policy(mut self, component: impl Into<Arc<[u8]>>) -> Self {
        self.policy = Some(component.into());
        self
    }

    /// How pages are compressed. [`PageEncoding::Frame`] lets Litestream before 0.5.16 restore.
    #[must_use]
    pub fn page_encoding(mut self, encoding: PageEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Validates the configuration and starts replication. Databases and replicas that cannot be
    /// reached yet do not fail the start; [`Lockkeeper::status`] shows them.
    ///
    /// # Errors
    ///
    /// `Invalid` with every problem of the configuration, or if none was given.
    pub async fn start(self) -> Result<Lockkeeper> {
        let (databases, policy) = super::database::blocking(move || self.prepare()).await?;
        Lockkeeper::spawn(databases, policy)
    }

    fn prepare(self) -> Result<(Vec<Database>, Policy)> {
        let component = self.policy.as_deref().unwrap_or(lockkeeper_component::DEFAULT_POLICY);
        let policy = Policy::new(component)?;
        let yaml = self.source.as_ref().map(read).transpose()?;
        let yaml = yaml.ok_or_else(|| {
            Error::invalid("no configuration: call config, config_file or config_store")
        })?;
        let plan = validate(&policy, &yaml)?;
        let base = absolute(self.base_dir.as_deref().unwrap_or(Path::new(".")))?;
        let watcher = Arc::new(LogWatcher::new());
        let databases = settings::databases(&plan, &base)?
            .into_iter()
            .map(|(settings, replica)| Database {
                shared: Arc::new(DatabaseShared::new(settings.path.clone(), replica.describe())),
                settings,
                replica,
                policy: policy.clone(),
                encoding: self.encoding,
                watcher: Arc::clone(&watcher),
            })
            .collect();
        Ok((databases, policy))
    }
}

fn read(source: &Source) -> Result<String> {
    match source {
        Source::Text(text) => Ok(text.clone()),
        Source::File(path) => std::fs::read_to_string(path).map_err(|error| {
            Error::invalid(format!("cannot read the configuration {}", path.display()))
                .with_source(error)
        }),
        Source::Store { database, key, check } => {
            let identities = KeyFile::read(key, *check)?;
            let entry = ConfigStore::open(database)?.get(&identities, SCOPE, 0)?;
            String::from_utf8(entry.plaintext.to_vec()).map_err(|_| {
                Error::invalid(format!("scope '{SCOPE}' in {} is not text", database.display()))
            })
        }
    }
}

fn validate(policy: &Policy, yaml: &str) -> Result<Plan> {
    let plan = policy.validate(yaml, settings::REPLICA_KINDS)?;
    for diagnostic in &plan.diagnostics {
        tracing::warn!("{diagnostic}");
    }
    Ok(plan)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::invalid(format!("cannot make {} absolute", path.display())).with_source(error)
    })
}
