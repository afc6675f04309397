//! What the outside can see of a database, and how its parts tell each other how far they came.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::Txid;
use tokio::sync::watch;

use crate::policy::PolicyStats;

/// What replication of one database is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DatabaseState {
    /// Opening the database and comparing it with its replica.
    Starting,
    /// Commits are captured and sent.
    Replicating,
    /// Capture works, but the replica does not take what was captured; it is tried again.
    ReplicaFailing(String),
    /// Capture does not work; it is tried again.
    Failing(String),
    /// Stopped.
    Stopped,
}

/// The state of one database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// The database file.
    pub path: PathBuf,
    /// What its replication is doing.
    pub state: DatabaseState,
    /// Where the replica is. Never holds a secret.
    pub replica: String,
    /// The last transaction in a sealed local file.
    pub spooled: Option<Txid>,
    /// The last transaction the replica confirmed, with all before it.
    pub durable: Option<Txid>,
    /// The last transaction of the newest snapshot.
    pub snapshot: Option<Txid>,
    /// The longest a checkpoint kept other writers out.
    pub write_lock_held_max: Duration,
}

/// The state of everything that is replicated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// One entry per database, in the order of the configuration.
    pub databases: Vec<DatabaseStatus>,
    /// How the policy component has served.
    pub policy: PolicyStats,
}

/// How far one database came, as its parts know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) spooled: Option<Txid>,
    pub(crate) durable: Option<Txid>,
    /// `None` until the replica was listed.
    pub(crate) snapshots: Option<Vec<ReplicaFile>>,
    pub(crate) snapshot_running: bool,
    pub(crate) consecutive_failures: u32,
    pub(crate) last_put_latency: Option<Duration>,
    write_lock_held_max: Duration,
}

/// What the capture and the upload of one database share.
#[derive(Debug)]
pub(crate) struct DatabaseShared {
    path: PathBuf,
    replica: String,
    marks: Mutex<Marks>,
    state: Mutex<DatabaseState>,
    spooled: watch::Sender<Option<Txid>>,
    durable: watch::Sender<Option<Txid>>,
}

impl DatabaseShared {
    pub(crate) fn new(path: PathBuf, replica: String) -> Self {
        Self {
            path,
            replica,
            marks: Mutex::default(),
            state: Mutex::new(DatabaseState::Starting),
            spooled: watch::Sender::new(None),
            durable: watch::Sender::new(None),
        }
    }

    /// The start of a run. What the replica holds is not known yet; what it held is still there.
    pub(crate) fn restart(&self, spooled: Option<Txid>) {
        {
            let mut marks = self.lock();
            marks.spooled = spooled;
            marks.durable = marks.durable.min(spooled);
            marks.snapshots = None;
            marks.snapshot_running = false;
            marks.consecutive_failures = 0;
        }
        self.spooled.send_replace(spooled);
    }

    /// The replica was listed: this is in it.
    pub(crate) fn reached(&self, durable: Option<Txid>, snapshots: Vec<ReplicaFile>) {
        {
            let mut marks = self.lock();
            marks.durable = durable;
            marks.snapshots = Some(snapshots);
            marks.consecutive_failures = 0;
        }
        self.durable.send_replace(durable);
    }

    pub(crate) fn marks(&self) -> Marks {
        self.lock().clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.lock());
    }

    pub(crate) fn spooled(&self, txid: Txid) {
        self.lock().spooled = Some(txid);
        self.spooled.send_replace(Some(txid));
    }

    pub(crate) fn confirmed(&self, txid: Txid, latency: Duration) {
        {
            let mut marks = self.lock();
            marks.durable = Some(txid);
            marks.last_put_latency = Some(latency);
            marks.consecutive_failures = 0;
        }
        self.durable.send_replace(Some(txid));
    }

    pub(crate) fn checkpointed(&self, held: Duration) {
        let mut marks = self.lock();
        marks.write_lock_held_max = marks.write_lock_held_max.max(held);
    }

    pub(crate) fn subscribe_spooled(&self) -> watch::Receiver<Option<Txid>> {
        self.spooled.subscribe()
    }

    pub(crate) fn subscribe_durable(&self) -> watch::Receiver<Option<Txid>> {
        self.durable.subscribe()
    }

    pub(crate) fn set_state(&self, state: DatabaseState) {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != state {
            tracing::info!(database = %self.path.display(), ?state, "replication");
            *now = state;
        }
    }

    /// Whether everything that was sealed is durable, and capture did not fail.
    pub(crate) fn is_settled(&self) -> bool {
        let failing = matches!(
            *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            DatabaseState::Failing(_)
        );
        let marks = self.marks();
        !failing && marks.durable == marks.spooled
    }

    /// What is not durable, for people.
    pub(crate) fn backlog(&self) -> String {
        let text = |txid: Option<Txid>| txid.map_or("none".to_owned(), |txid| txid.to_string());
        let marks = self.marks();
        let why = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            DatabaseState::ReplicaFailing(why) | DatabaseState::Failing(why) => format!(": {why}"),
            _ => String::new(),
        };
        format!(
            "{} (sealed to {}, durable to {}){why}",
            self.path.display(),
            text(marks.spooled),
            text(marks.durable)
        )
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let marks = self.marks();
        DatabaseStatus {
            path: self.path.clone(),
            state: self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            replica: self.replica.clone(),
            spooled: marks.spooled,
            durable: marks.durable,
            snapshot: marks
                .snapshots
                .and_then(|files| files.iter().map(|file| file.name.range().max()).max()),
            write_lock_held_max: marks.write_lock_held_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        // A panic while marks were held leaves plain values behind, each valid by itself.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
