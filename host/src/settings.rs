//! The plan of a validated configuration, as types the engine works with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::policy::{DatabasePlan, Plan, ReplicaPlan, Setting, Value};
use crate::store::Replica;
use crate::{Error, Result};

/// The kinds of replica this host has.
pub(crate) const REPLICA_KINDS: &[&str] = &["file"];

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
    pub(crate) restore_if_missing: bool,
}

/// The databases a plan names, each with its replica. Relative paths are below `base`.
pub(crate) fn databases(plan: &Plan, base: &Path) -> Result<Vec<(DatabaseSettings, Replica)>> {
    plan.databases.iter().map(|database| database_settings(plan, database, base)).collect()
}

fn database_settings(
    plan: &Plan,
    database: &DatabasePlan,
    base: &Path,
) -> Result<(DatabaseSettings, Replica)> {
    let Some(path) = &database.path else {
        return Err(Error::invalid(
            "directory monitoring (`dir`) is not part of this version; name each database with `path`",
        ));
    };
    let own = Settings(&database.settings);
    let replica = Settings(&database.replica.settings);
    let snapshot_interval = own
        .duration("snapshot.interval")
        .or_else(|| Settings(&plan.settings).duration("snapshot.interval"));
    let settings = DatabaseSettings {
        path: resolve(base, path),
        meta_path: own.text("meta-path").map(|path| resolve(base, path)),
        sync_interval: replica.duration("sync-interval").unwrap_or(Duration::from_secs(1)),
        monitor_interval: monitor_interval(own.duration("monitor-interval")),
        checkpoint_interval: own
            .duration("checkpoint-interval")
            .unwrap_or(Duration::from_secs(60)),
        busy_timeout: own.duration("busy-timeout").unwrap_or(Duration::from_secs(1)),
        snapshot_interval: snapshot_interval.unwrap_or(Duration::from_secs(24 * 60 * 60)),
        min_checkpoint_pages: own.pages("min-checkpoint-page-count").unwrap_or(1000),
        truncate_pages: own.pages("truncate-page-n").unwrap_or(121_359),
        max_sync_bytes: own.number("max-sync-wal-bytes").unwrap_or(64 << 20),
        restore_if_missing: own.flag("restore-if-db-not-exists").unwrap_or(false),
    };
    Ok((settings, open_replica(&database.replica, base)?))
}

/// Opens the replica that a plan describes.
pub(crate) fn open_replica(plan: &ReplicaPlan, base: &Path) -> Result<Replica> {
    if plan.kind != "file" {
        return Err(Error::invalid(format!(
            "replica type {:?} is not part of this host (it has: {})",
            plan.kind,
            REPLICA_KINDS.join(", ")
        )));
    }
    let path = Settings(&plan.settings)
        .text("path")
        .ok_or_else(|| Error::invalid("a file replica needs a `path`"))?;
    Replica::file(resolve(base, path))
}

/// The tick is the safety net under the notifications, so it cannot be turned off.
fn monitor_interval(configured: Option<Duration>) -> Duration {
    configured.filter(|interval| !interval.is_zero()).unwrap_or(Duration::from_secs(1))
}

/// Makes a path absolute; `~` is the home directory, as in Litestream.
pub(crate) fn resolve(base: &Path, path: &str) -> PathBuf {
    let expanded = match path.strip_prefix("~/") {
        Some(rest) => std::env::home_dir().map_or_else(|| PathBuf::from(path), |home| home.join(rest)),
        None => PathBuf::from(path),
    };
    let joined = base.join(expanded);
    // Lexical, like Litestream: `./app.db` and `app.db` are one database.
    joined.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

struct Settings<'a>(&'a [Setting]);

impl<'a> Settings<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|setting| setting.name == name).map(|setting| &setting.value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Number(number) | Value::Bytes(number)) => Some(*number),
            _ => None,
        }
    }

    fn pages(&self, name: &str) -> Option<u32> {
        self.number(name).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }
}
