//! Where commands find the configuration, and the replica of a database.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lockkeeper::policy::{Component, PolicySource, StoredPolicies};
use lockkeeper::store::Replica;
use lockkeeper::{Builder, Configuration, Lockkeeper};

use crate::args::Globals;

/// The flags of commands that read the litestream configuration.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// A litestream.yml, instead of the configuration in the application's database
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A policy component, instead of the built-in one
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Source {
    pub(crate) fn policy(&self) -> PolicySource {
        match &self.policy {
            Some(path) => PolicySource::File(path.clone()),
            None => PolicySource::Embedded,
        }
    }

    /// The policies of the application's database, unless a file takes their place or that of the
    /// configuration.
    pub(crate) fn stored_policies(&self, globals: &Globals) -> Result<Option<StoredPolicies>> {
        if self.policy.is_some() || self.config.is_some() {
            return Ok(None);
        }
        let stored = StoredPolicies::new(globals.db_path()?, globals.identities()?);
        Ok(Some(stored))
    }

    /// A builder with the configuration.
    pub(crate) fn builder(&self, globals: &Globals) -> Result<Builder> {
        let builder = Lockkeeper::builder().policy(self.policy());
        match &self.config {
            Some(path) => Ok(builder.config_file(path)),
            None => Ok(builder.config_store(globals.db_path()?, globals.identities()?)),
        }
    }

    /// The validated configuration.
    pub(crate) fn configuration(&self, globals: &Globals) -> Result<Configuration> {
        let read = self.builder(globals)?.read();
        match &self.config {
            Some(path) => read.with_context(|| path.display().to_string()),
            None => Ok(read?),
        }
    }

    /// Whether the configuration is a file.
    pub(crate) fn is_file(&self) -> bool {
        self.config.is_some()
    }

    /// Whether the command line says where a configuration is.
    pub(crate) fn is_named(&self, globals: &Globals) -> bool {
        self.is_file() || globals.db_path().is_ok()
    }

    /// Where the configuration has the control socket.
    pub(crate) fn socket(&self, globals: &Globals) -> Result<PathBuf> {
        match self.configuration(globals)?.control_socket() {
            Some(socket) => Ok(socket.to_owned()),
            None => bail!(
                "the configuration has no control socket: set socket.enabled, or give -socket FILE"
            ),
        }
    }

    /// The replica that `target` names: a database of the configuration, or the URL of a replica.
    pub(crate) fn find(&self, globals: &Globals, target: Option<&str>) -> Result<Found> {
        match target {
            Some(url) if url.contains("://") && !is_database_url(url) => {
                if self.config.is_some() {
                    bail!("cannot specify a replica URL and -config: the URL says it all");
                }
                let replica = Configuration::replica_at(url, &Component::load(&self.policy())?)?;
                Ok(Found {
                    replica,
                    database: None,
                })
            }
            Some(path) => {
                let path = Path::new(without_scheme(path));
                let database = self.configuration(globals)?.database(path)?;
                Ok(Found {
                    replica: database.replica()?,
                    database: Some(database.path().to_owned()),
                })
            }
            None => self.only_one(globals),
        }
    }

    fn only_one(&self, globals: &Globals) -> Result<Found> {
        let configuration = self.configuration(globals)?;
        let databases: Vec<&Path> = configuration.databases().collect();
        match databases[..] {
            [database] if !database.is_dir() => Ok(Found {
                replica: configuration.replica_of(database)?,
                database: Some(database.to_owned()),
            }),
            _ => bail!(
                "say which database: give its path, or the URL of its replica; the configuration \
                 has {}",
                databases
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

/// A path, without the `sqlite://` that may stand before it.
pub(crate) fn without_scheme(path: &str) -> &str {
    path.strip_prefix("sqlite://")
        .or_else(|| path.strip_prefix("sqlite3://"))
        .unwrap_or(path)
}

fn is_database_url(text: &str) -> bool {
    text.starts_with("sqlite://") || text.starts_with("sqlite3://")
}

/// What a command line names.
pub(crate) struct Found {
    pub(crate) replica: Replica,
    /// `None` if the replica was named by its URL.
    pub(crate) database: Option<PathBuf>,
}
