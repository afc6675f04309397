//! Every database of one engine. They come and go while it runs.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use lockkeeper_ltx::PageEncoding;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::alerts::Alerts;
use super::database::{Command, Database};
use super::directories::Directories;
use super::holds::Holds;
use super::shared::DatabaseShared;
use super::status::{
    ConfigurationStatus, ControlState, DatabaseState, DatabaseStatus, HeartbeatState, Status,
};
use super::watch::LogWatcher;
use crate::policy::Policy;
use crate::settings::DatabaseSettings;
use crate::{Error, ErrorKind, Result, paths};

/// Snapshots and merges at a time. Each holds a thread that waits for its store, so there must be
/// fewer of them than threads; a snapshot also holds back the checkpoints of its database.
const LONG_WORK_MAX: usize = 2;
/// How often lag and health are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Commands that wait for a database task.
const COMMANDS_MAX: usize = 16;
/// Databases that left while not everything of them was durable, and are remembered for that.
const LEFT_MAX: usize = 10_000;

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
    /// Databases that are no members any more and have something that is not durable.
    left: Mutex<Vec<Handle>>,
    tasks: Mutex<JoinSet<()>>,
    pub(super) directories: Directories,
    control: Mutex<ControlState>,
    heartbeat: Mutex<HeartbeatState>,
    configuration: Mutex<ConfigurationStatus>,
    closing: watch::Sender<bool>,
    alerts: Alerts,
}

/// One database, seen from outside of its task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) path: PathBuf,
    pub(super) commands: mpsc::Sender<Command>,
    pub(crate) shared: Arc<DatabaseShared>,
    pub(super) settings: Arc<DatabaseSettings>,
    task: AbortHandle,
    /// Its sender goes with the task.
    ended: watch::Receiver<()>,
    policy: Policy,
}

impl Handle {
    /// Asks the task to send what is committed and to end; returns when it has ended.
    pub(super) async fn end(&self) {
        // A task that has ended needs no command.
        let _ = self.commands.send(Command::Stop).await;
        self.has_ended().await;
    }

    /// Ends the task without waiting for the replica. What is sealed stays in its local files.
    pub(super) async fn abort(&self) {
        self.task.abort();
        self.has_ended().await;
    }

    /// What `work` waits for, as long as somebody is there to do it.
    ///
    /// # Errors
    ///
    /// Those of `work`; `Unavailable` once the task of the database has ended.
    pub(crate) async fn while_running<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            // What was done before the end is done.
            biased;
            done = work => done,
            () = self.has_ended() => Err(Error::unavailable(format!(
                "the replication of {} has ended",
                self.path.display()
            ))),
        }
    }

    async fn has_ended(&self) {
        // Nothing is ever sent.
        let _ = self.ended.clone().changed().await;
    }
}

impl Fleet {
    pub(crate) fn new(common: Common) -> Self {
        Self {
            common,
            long_work: Arc::new(Semaphore::new(LONG_WORK_MAX)),
            members: Mutex::default(),
            left: Mutex::default(),
            tasks: Mutex::default(),
            directories: Directories::default(),
            control: Mutex::default(),
            heartbeat: Mutex::default(),
            configuration: Mutex::new(ConfigurationStatus {
                since: SystemTime::now(),
                rejected: None,
            }),
            closing: watch::Sender::new(false),
            alerts: Alerts::default(),
        }
    }

    /// The databases at this moment.
    pub(crate) fn members(&self) -> Vec<Handle> {
        lock(&self.members).clone()
    }

    /// The databases whose commits somebody counts on: the members, and those that left with
    /// something that is not durable.
    pub(super) fn answerable(&self) -> Vec<Handle> {
        let mut all = self.members();
        all.extend(lock(&self.left).iter().cloned());
        all
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
            directories: self.directories.status(),
            policy: self.common.policy.stats(),
            deciding: self.common.policy.deciding(),
            control: lock(&self.control).clone(),
            heartbeat: lock(&self.heartbeat).clone(),
            configuration: lock(&self.configuration).clone(),
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

    /// Returns what it was before.
    pub(super) fn set_heartbeat(&self, state: HeartbeatState) -> HeartbeatState {
        std::mem::replace(&mut lock(&self.heartbeat), state)
    }

    /// Notes that another configuration is in force, or why it is not.
    pub(super) fn set_configuration(&self, changed: std::result::Result<(), String>) {
        let mut configuration = lock(&self.configuration);
        if changed.is_ok() {
            configuration.since = SystemTime::now();
        }
        configuration.rejected = changed.err();
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
        tracing::info!(
            database = %settings.path.display(), replica = %settings.replica.open()?, "replicating"
        );
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
            settings: settings.clone(),
            holds,
            ownership: None,
            replica,
            policy: policy.clone(),
            encoding: self.common.encoding,
            shared: Arc::clone(&shared),
            watcher: Arc::clone(&self.common.watcher),
            long_work: Arc::clone(&self.long_work),
        };
        let (running, ended) = watch::channel(());
        let task = {
            let mut tasks = lock(&self.tasks);
            // Those that have ended are kept until they are asked for.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(watched(database, receiver, Arc::clone(&shared), running))
        };
        // Who begins with its local files again answers for them.
        lock(&self.left).retain(|left| left.settings.meta_path() != settings.meta_path());
        lock(&self.members).push(Handle {
            path,
            commands,
            shared,
            settings: Arc::new(settings),
            task,
            ended,
            policy,
        });
        Ok(())
    }

    /// Takes a database out of the members. Its task goes on until it is told to end.
    pub(super) fn part(&self, path: &Path) -> Option<Handle> {
        let handle = {
            let mut members = lock(&self.members);
            let at = members.iter().position(|handle| handle.path == path)?;
            members.remove(at)
        };
        handle.shared.meter.gone();
        let mut left = lock(&self.left);
        left.retain(|handle| !handle.has_nothing_left());
        if left.len() < LEFT_MAX {
            left.push(handle.clone());
        }
        Some(handle)
    }

    /// Tells the task of one database to send what it can and to end.
    pub(super) async fn remove(&self, path: &Path) {
        if let Some(handle) = self.part(path) {
            // A task that has ended needs no command.
            let _ = handle.commands.send(Command::Stop).await;
        }
    }

    /// Emits what has to be looked at, for as long as it is polled.
    pub(super) async fn measure(&self) {
        loop {
            for member in self.members() {
                member.shared.meter.look(&member.shared.status());
            }
            tokio::time::sleep(MEASURE_EVERY).await;
        }
    }

    /// Puts the databases into the order that `rank` gives them.
    pub(super) fn sort_by(&self, rank: impl Fn(&DatabaseSettings) -> usize) {
        lock(&self.members).sort_by_cached_key(|handle| rank(&handle.settings));
    }

    /// Who waits for a replica must give up now: everything ends.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns when everything is about to end.
    pub(super) async fn is_closing(&self) {
        // The sender is here.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Ends every task, after each sent what is committed.
    pub(super) async fn stop(&self) {
        for handle in self.members() {
            let _ = handle.commands.send(Command::Stop).await;
        }
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        while tasks.join_next().await.is_some() {}
    }
}

impl Handle {
    /// Whether the task has ended and everything is durable.
    fn has_nothing_left(&self) -> bool {
        let is_stopped = *self.shared.subscribe_state().borrow() == DatabaseState::Stopped;
        is_stopped && self.shared.is_settled()
    }
}

/// The task of a database. It must not die unnoticed: nothing would be captured any more, under a
/// state that says otherwise.
async fn watched(
    database: Database,
    commands: mpsc::Receiver<Command>,
    shared: Arc<DatabaseShared>,
    // Dropped after everything that the database holds.
    _running: watch::Sender<()>,
) {
    let run = AssertUnwindSafe(database.run(commands)).catch_unwind();
    if run.await.is_err() {
        let why = "its task died, which is a bug in lockkeeper: start the process again";
        tracing::error!(database = %shared.path().display(), "{why}");
        shared.set_state(DatabaseState::Failing(why.into()));
    }
}

/// There is nobody left who could answer.
pub(super) fn stopped<T>(_: T) -> Error {
    Error::unavailable("replication has stopped")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists stay whole when a holder panics: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
