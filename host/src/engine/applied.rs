//! The configuration that runs, and how another one takes its place.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};

use super::beside::Beside;
use super::database::blocking;
use super::fleet::Fleet;
use super::reload::{self, Reloaded};
use crate::Result;
use crate::builder::Builder;
use crate::configuration::{Configuration, Entry, Logging};
use crate::logs::Follow;

/// What runs of a configuration. One change is made at a time.
#[derive(Debug)]
pub(super) struct Applied {
    entries: Mutex<Vec<Entry>>,
    beside: Beside,
    shutdown_timeout: watch::Sender<Duration>,
    follow: Follow,
}

impl Applied {
    pub(super) fn new(entries: Vec<Entry>, follow: Follow) -> Self {
        Self {
            entries: Mutex::new(entries),
            beside: Beside::default(),
            shutdown_timeout: watch::Sender::new(Configuration::SHUTDOWN_TIMEOUT),
            follow,
        }
    }

    pub(super) fn shutdown_timeout(&self) -> Duration {
        *self.shutdown_timeout.borrow()
    }

    /// Waits for the change that is being made. None is made while the guard lives.
    pub(super) async fn hold(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().await
    }

    /// Reads the configuration again and replicates by it. The status says how that went.
    pub(super) async fn reload(&self, fleet: &Arc<Fleet>, builder: Builder) -> Result<Reloaded> {
        let mut entries = self.entries.lock().await;
        let changed = self.replace(&mut entries, fleet, builder).await;
        fleet.set_configuration(changed.as_ref().map(|_| ()).map_err(ToString::to_string));
        changed
    }

    async fn replace(
        &self,
        entries: &mut Vec<Entry>,
        fleet: &Arc<Fleet>,
        builder: Builder,
    ) -> Result<Reloaded> {
        let reader = builder.clone();
        let configuration = blocking(move || reader.read()).await?;
        builder.report(&configuration);
        let wanted = builder.entries(&configuration);
        let new = wanted.iter().filter(|entry| !entries.contains(entry));
        Builder::restore_missing(new, fleet.policy()).await?;
        let changed = reload::change(fleet, entries, &wanted).await?;
        *entries = wanted;
        self.run_beside(fleet, &configuration).await;
        tracing::info!(
            kept = changed.kept,
            changed = changed.changed,
            added = changed.added,
            removed = changed.removed,
            "another configuration is in force"
        );
        Ok(changed)
    }

    /// Begins with what a configuration wants beside its databases. Must be called within the
    /// runtime.
    pub(super) async fn run_beside(&self, fleet: &Arc<Fleet>, configuration: &Configuration) {
        let timeout = configuration.shutdown_timeout();
        self.shutdown_timeout.send_replace(timeout);
        self.log_as(configuration.logging()).await;
        self.beside.listen(fleet, configuration.control()).await;
        self.beside.beat(fleet, configuration.heartbeat()).await;
    }

    async fn log_as(&self, logging: &Logging) {
        let (follow, logging) = (self.follow.clone(), logging.clone());
        let followed = blocking(move || {
            follow.to(&logging);
            Ok(())
        });
        // Nothing in it fails.
        let _ = followed.await;
    }
}
