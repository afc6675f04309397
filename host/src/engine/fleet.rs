//! Every database of one engine. Databases of a directory come and go while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockkeeper_ltx::PageEncoding;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::alerts::Alerts;
use super::database::{Command, Database};
use super::holds::Holds;
use super::shared::DatabaseShared;
use super::status::{ControlState, DatabaseStatus, Status};
use super::watch::LogWatcher;
use crate::policy::Policy;
use crate::settings::DatabaseSettings;
use crate::{ErrorKind, Result, paths};

/// Snapshots and merges at a time. Each holds a thread that waits for its store, so there must be
/// fewer of them than threads; a snapshot also holds back the checkpoints of its database.
const LONG_WORK_MAX: usize = 2;
/// Commands that wait for a database task.
const COMMANDS_MAX: usize = 16;

/// What all databases of one engine have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) policy: Policy,
    pub(crate) encoding: PageEncoding,
    pub(crate) watcher: Arc<LogWatcher>,
}

/// The databases and their tasks.
#[derive(Debug)]
pub(crate) struct Fleet {
    common: Common,
    long_work: Arc<Semaphore>,
    members: Mutex<Vec<Handle>>,
    tasks: Mutex<JoinSet<()>>,
    control: Mutex<ControlState>,
    alerts: Alerts,
}

/// One database, seen from outside of its task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) path: PathBuf,
    pub(super) commands: mpsc::Sender<Command>,
    pub(crate) shared: Arc<DatabaseShared>,
    policy: Policy,
}

impl Fleet {
    pub(crate) fn new(common: Common) -> Self {
        Self {
            common,
            long_work: Arc::new(Semaphore::new(LONG_WORK_MAX)),
            members: Mutex::default(),
            tasks: Mutex::default(),
            control: Mutex::default(),
            alerts: Alerts::default(),
        }
    }

    /// The databases at this moment.
    pub(crate) fn members(&self) -> Vec<Handle> {
        lock(&self.members).clone()
    }

    /// The database at `path`, or where the symbolic links of `path` lead.
    pub(crate) fn find(&self, path: &Path) -> Option<Handle> {
        let members = self.members();
        let named = members.iter().find(|handle| handle.path == path);
        named.cloned().or_else(|| {
            let real = paths::resolve(path);
            members
                .into_iter()
                .find(|handle| paths::resolve(&handle.path) == real)
        })
    }

    /// How far each database is.
    pub(crate) fn status(&self) -> Status {
        let members = self.members();
        Status {
            databases: members
                .iter()
                .map(|handle| DatabaseStatus {
                    decisions: handle.policy.recent(),
                    ..handle.shared.status()
                })
                .collect(),
            policy: self.common.policy.stats(),
            deciding: self.common.policy.deciding(),
            control: lock(&self.control).clone(),
            alerts: self.alerts.shown(),
        }
    }

    /// Who decides for all of them.
    pub(crate) fn policy(&self) -> &Policy {
        &self.common.policy
    }

    pub(crate) fn set_control(&self, state: ControlState) {
        *lock(&self.control) = state;
    }

    /// Lets the policy tell people of what happens. Must be called within the runtime.
    pub(super) fn start_alerts(&self) {
        self.alerts.start(self.common.policy.clone());
    }

    /// Starts the task of one more database. Must be called within the runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if somebody else replicates it, or to the same place.
    pub(super) fn add(&self, settings: DatabaseSettings) -> Result<()> {
        let holds = match Holds::take(&settings) {
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
            // A disk that is not there yet is waited for.
            holds => holds.ok(),
        };
        self.add_held(settings, holds)
    }

    /// As [`Self::add`], but what somebody else uses is waited for.
    pub(super) fn add_waiting(&self, settings: DatabaseSettings) -> Result<()> {
        self.add_held(settings, None)
    }

    fn add_held(&self, settings: DatabaseSettings, holds: Option<Holds>) -> Result<()> {
        let replica = settings.replica.open()?;
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let path = settings.path.clone();
        let shared = DatabaseShared::new(path.clone(), replica.clone());
        let shared = Arc::new(shared.with_events(self.alerts.events()));
        let policy = self.common.policy.for_database(&path.to_string_lossy());
        let database = Database {
            settings,
            holds,
            ownership: None,
            replica,
            policy: policy.clone(),
            encoding: self.common.encoding,
            shared: Arc::clone(&shared),
            watcher: Arc::clone(&self.common.watcher),
            long_work: Arc::clone(&self.long_work),
        };
        lock(&self.members).push(Handle {
            path,
            commands,
            shared,
            policy,
        });
        lock(&self.tasks).spawn(database.run(receiver));
        Ok(())
    }

    /// Ends the task of one database, after it sent what it can.
    pub(super) async fn remove(&self, path: &Path) {
        let handle = {
            let mut members = lock(&self.members);
            let at = members.iter().position(|handle| handle.path == path);
            at.map(|at| members.remove(at))
        };
        if let Some(handle) = handle {
            // A task that has ended needs no command.
            let _ = handle.commands.send(Command::Stop).await;
        }
    }

    /// Ends every task, after each sent what is committed.
    pub(super) async fn stop(&self) {
        for handle in self.members() {
            let _ = handle.commands.send(Command::Stop).await;
        }
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task of a database died");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists stay whole when a holder panics: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
