//! Drives the replication of every database of one configuration.

mod absent;
mod alerts;
mod applied;
mod attention;
mod beside;
mod catalogue;
mod conditions;
mod database;
mod directories;
mod directory;
mod fleet;
mod holds;
mod merge;
mod meter;
mod ownership;
mod places;
mod policies;
mod proof;
mod pulse;
mod reconcile;
mod reload;
mod requests;
mod resend;
mod shared;
mod spending;
mod status;
mod sync;
mod takeover;
mod turns;
mod upkeep;
mod upload;
mod verification;
mod waiting;
mod watch;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockkeeper_ltx::Txid;
use tokio::runtime;
use tokio::sync::{Mutex, oneshot, watch as signal};

use self::applied::Applied;
pub(crate) use self::directory::find_in_directory;
use self::fleet::stopped;
pub(crate) use self::fleet::{Common, Fleet, Handle};
pub use self::meter::{METRICS, Metric, MetricKind};
pub use self::reload::Reloaded;
pub use self::status::{
    Alert, ConfigurationStatus, ControlState, DatabaseState, DatabaseStatus, DirectoryStatus,
    HeartbeatState, HeldPoint, LogHeld, RestorePoint, RestoreWindow, Status, Verified,
};
pub use self::sync::Synced;
pub(crate) use self::sync::Until;
pub(crate) use self::watch::LogWatcher;
use crate::builder::Builder;
use crate::configuration::{Configuration, Entry};
use crate::logs::ReplicationLog;
use crate::{Error, Result};

/// Threads for work that blocks, shared by all databases.
const BLOCKING_THREADS: usize = 8;
/// How long work that blocks may take to end after everything else has. What does not end by then
/// keeps what it uses.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Replication that runs on a thread of its own, beside the application.
///
/// Keep it for as long as the application writes, and end it with [`Lockkeeper::stop`] while the
/// application's own connections are still open. Dropping it ends replication without a flush:
/// what was committed is then sent after the next start.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> lockkeeper::Result<()> {
/// let keeper = lockkeeper::Lockkeeper::builder()
///     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
///     .start()
///     .await?;
/// // … the application writes to app.db …
/// keeper.sync().await?; // everything committed until here is durable
/// keeper.stop(std::time::Duration::from_secs(15)).await
/// # }
/// ```
///
/// What else it can be asked:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let builder = lockkeeper::Lockkeeper::builder()
/// #     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path());
/// # let keeper = builder.clone().start().await?;
/// use std::time::Duration;
///
/// use lockkeeper::policy::{Installation, PolicySource};
///
/// let database = folder.path().join("app.db");
/// app.execute_batch("INSERT INTO guests VALUES ('Ada')")?; // committed
/// let synced = keeper.sync_database(&database).await?; // durable
/// assert_eq!(synced.durable, synced.spooled);
/// let proof = keeper.verify(&database).await?; // restored, and compared page by page
/// assert!(Some(proof.txid) >= synced.durable);
/// keeper.snapshot(&database).await?; // the whole database in one file of the replica
/// keeper.enforce_retention(&database).await?; // what is due to be deleted, now
///
/// let reloaded = keeper.reload(&builder).await?; // the configuration, read again
/// assert_eq!(reloaded.kept, 1);
/// # let mut component = lockkeeper_component::DEFAULT_POLICY.to_vec();
/// # component.extend([0, 5, 4, b'n', b'o', b't', b'e']); // another one, by its digest
/// let wanted = Installation {
///     shadow_decisions: 0,
///     ..Installation::new(PolicySource::Bytes(component))
/// };
/// let installed = keeper.install_policy(wanted).await?;
/// assert_eq!(keeper.deciding().component, Some(installed.component));
/// assert_eq!(Some(keeper.roll_back_policy()?), installed.previous);
/// assert!(keeper.reload_policy().await.is_err()); // there is no store to take one from
///
/// let deadline = keeper.shutdown_timeout();
/// keeper.stop(deadline).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lockkeeper {
    fleet: Arc<Fleet>,
    runtime: runtime::Handle,
    /// Dropped without a value, it ends the thread at once.
    stopping: signal::Sender<bool>,
    end: Mutex<End>,
    applied: Arc<Applied>,
}

/// How it is known that the thread has ended.
#[derive(Debug)]
struct End {
    ended: oneshot::Receiver<()>,
    /// `None` once it was waited for.
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Lockkeeper {
    /// Says what to replicate, and how.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts replication of what the entries name.
    pub(crate) fn spawn(entries: Vec<Entry>, common: Common, log: ReplicationLog) -> Result<Self> {
        let fleet = Arc::new(Fleet::new(common));
        let mut runtime = runtime::Builder::new_current_thread();
        log.enter_threads(&mut runtime);
        let runtime = runtime
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("lockkeeper-io")
            .build()
            .map_err(|error| Error::unavailable("cannot start a runtime").with_source(error))?;
        let (stopping, stop) = signal::channel(false);
        let (ending, ended) = oneshot::channel();
        if let Err(error) = begin(&entries, &fleet, &runtime) {
            // Dropped, it would wait, which the thread of an asynchronous caller must not do.
            runtime.shutdown_background();
            return Err(error);
        }
        let handle = runtime.handle().clone();
        let members = Arc::clone(&fleet);
        let applied = Arc::new(Applied::new(entries, log.follow()));
        let changes = Arc::clone(&applied);
        let thread = std::thread::Builder::new()
            .name("lockkeeper".into())
            .spawn(move || {
                log.within(|| {
                    runtime.block_on(run(members, changes, stop));
                    // Databases are free for others only now.
                    runtime.shutdown_timeout(RELEASE_TIMEOUT);
                });
                // Its last lines are written when it goes.
                drop(log);
                // A handle that was dropped does not listen.
                let _ = ending.send(());
            })
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
        Ok(Self {
            fleet,
            runtime: handle,
            stopping,
            end: Mutex::new(End {
                ended,
                thread: Some(thread),
            }),
            applied,
        })
    }

    /// Returns when everything that is committed now is durable.
    ///
    /// # Errors
    ///
    /// `Unavailable` if a database cannot be captured, `Fenced` if another writer took its replica
    /// over. A replica that does not answer is waited for: bound the wait with a timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn sync(&self) -> Result<()> {
        let all = self.fleet.members();
        let all = all.into_iter().map(|handle| handle.sync(Until::Durable));
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Returns when everything that is committed to one database now is durable. The path is that
    /// of the configuration, or another way to the same file.
    ///
    /// # Errors
    ///
    /// `Invalid` if the database is not replicated; else as [`Lockkeeper::sync`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn sync_database(&self, path: impl AsRef<Path>) -> Result<Synced> {
        self.find(path.as_ref())?.sync(Until::Durable).await
    }

    /// Takes a snapshot of one database, and returns its last transaction: everything committed now
    /// is in it. Returns at once if the newest snapshot holds everything already.
    ///
    /// # Errors
    ///
    /// `Invalid` if no such database is replicated; `Unavailable` if it cannot be captured.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn snapshot(&self, database: impl AsRef<Path>) -> Result<Option<Txid>> {
        let handle = self.find(database.as_ref())?;
        let shared = Arc::clone(&handle.shared);
        let mut sent = shared.subscribe_snapshot();
        let synced = handle.clone().sync(Until::Durable).await?;
        let newest = shared.read(|marks| marks.snapshot);
        if newest >= synced.spooled {
            return Ok(newest);
        }
        shared.demand(|marks| marks.snapshot_asked = true);
        let sent = async {
            let reached = sent.wait_for(|snapshot| *snapshot >= synced.spooled).await;
            reached.map(|snapshot| *snapshot).map_err(stopped)
        };
        handle.while_running(sent).await
    }

    /// Merges and deletes in the replica of one database what is due now, and returns how many
    /// files were deleted. If something is wrong, `deletion_paused` of the status says why none
    /// were.
    ///
    /// # Errors
    ///
    /// `Invalid` if no such database is replicated; `Unavailable` if the replica did not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn enforce_retention(&self, database: impl AsRef<Path>) -> Result<usize> {
        let handle = self.find(database.as_ref())?;
        let mut ended = handle.shared.ask_for_upkeep();
        let pass = async { ended.changed().await.map_err(stopped) };
        handle.while_running(pass).await?;
        let deleted = *ended.borrow_and_update();
        deleted.ok_or_else(|| {
            Error::unavailable(format!("{} did not answer", handle.shared.status().replica))
        })
    }

    /// Proves the replica of one database: everything committed now is made durable, the replica is
    /// restored beside the state of the database, and compared with it page by page.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the replica does not restore to the database: a new snapshot is then made, and
    /// until it is proven nothing is deleted. `Unavailable` if that could not be found out.
    /// `Invalid` if no such database is replicated.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn verify(&self, database: impl AsRef<Path>) -> Result<Verified> {
        self.find(database.as_ref())?.verify().await
    }

    fn find(&self, path: &Path) -> Result<Handle> {
        let unknown =
            || Error::invalid(format!("the database {} is not replicated", path.display()));
        self.fleet.find(path).ok_or_else(unknown)
    }

    /// How far each database is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.fleet.status()
    }

    /// How long the configuration gives [`Lockkeeper::stop`].
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.applied.shutdown_timeout()
    }

    /// Reads the configuration again from where the builder has it, and replicates what it names
    /// from then on. Databases whose settings did not change are not touched; no transaction is
    /// lost of those that are started again. It logs as the new configuration has it; see
    /// [`Builder::on_logging`] where the application has the log.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`], or `Unavailable` if a new replica cannot be used. The configuration
    /// before is in force then, and the status says why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait; the change goes on.
    pub async fn reload(&self, builder: &Builder) -> Result<Reloaded> {
        let (builder, fleet) = (builder.clone(), Arc::clone(&self.fleet));
        let applied = Arc::clone(&self.applied);
        let change = async move { applied.reload(&fleet, builder).await };
        let changed = self.runtime.spawn(change).await;
        changed.map_err(|_| Error::unavailable("replication has stopped"))?
    }

    /// Begins with what a configuration wants beside its databases.
    pub(crate) async fn begin_beside(&self, configuration: Configuration) {
        let (fleet, applied) = (Arc::clone(&self.fleet), Arc::clone(&self.applied));
        let begin = async move { applied.run_beside(&fleet, &configuration).await };
        // An error is a runtime that ended already.
        let _ = self.runtime.spawn(begin).await;
    }

    /// Seals and sends everything that is committed, then ends.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that took longer than `deadline`; the message names what is not durable.
    /// It is on the local disk, and is sent after the next start.
    pub async fn stop(self, deadline: Duration) -> Result<()> {
        self.end(deadline).await
    }

    /// As [`Lockkeeper::stop`]; whoever else has a reference is answered that it has stopped.
    pub(crate) async fn end(&self, deadline: Duration) -> Result<()> {
        self.stopping.send_replace(true);
        self.fleet.close();
        let mut end = self.end.lock().await;
        if end.thread.is_some()
            && tokio::time::timeout(deadline, &mut end.ended)
                .await
                .is_err()
        {
            let error = not_durable(&self.fleet.answerable(), deadline);
            // Whoever comes next must not find the databases in use.
            self.stopping.send_replace(false);
            let _ = tokio::time::timeout(RELEASE_TIMEOUT, &mut end.ended).await;
            end.thread = None;
            return Err(error);
        }
        if let Some(thread) = end.thread.take() {
            thread
                .join()
                .map_err(|_| Error::internal("the replication thread panicked"))?;
        }
        let members = self.fleet.answerable();
        if members.iter().all(|handle| handle.shared.is_settled()) {
            Ok(())
        } else {
            Err(not_durable(&members, deadline))
        }
    }
}

/// Makes the tasks, so that a caller sees every database as soon as replication was started.
fn begin(entries: &[Entry], fleet: &Arc<Fleet>, runtime: &runtime::Runtime) -> Result<()> {
    let _context = runtime.enter();
    fleet.start_alerts();
    for entry in entries {
        if let Entry::File(settings) = entry {
            fleet.add(settings.clone())?;
        }
    }
    for entry in entries {
        if let Entry::Directory(settings) = entry {
            fleet.directories.add(settings.clone(), fleet);
        }
    }
    Ok(())
}

/// Runs until told to stop, then until everything is sent; or until nobody is there to tell.
async fn run(fleet: Arc<Fleet>, applied: Arc<Applied>, mut stop: signal::Receiver<bool>) {
    let measuring = Arc::clone(&fleet);
    tokio::spawn(async move { measuring.measure().await });
    let following = Arc::clone(&fleet);
    tokio::spawn(async move { following.policy().follow_store().await });
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::warn!("replication was dropped without a stop: what is committed is not flushed");
        return;
    }
    let sent = async {
        // Otherwise a change or a directory could add a database that nobody stops.
        let _changes = applied.hold().await;
        fleet.directories.stop().await;
        fleet.stop().await;
    };
    tokio::select! {
        () = sent => {}
        _ = stop.wait_for(|stop| !stop) => {
            tracing::warn!("not everything was sent in time; it is sent after the next start");
        }
    }
}

fn not_durable(members: &[Handle], deadline: Duration) -> Error {
    let behind: Vec<String> = members
        .iter()
        .filter(|handle| !handle.shared.is_settled())
        .map(|handle| handle.shared.backlog())
        .collect();
    let millis = deadline.as_nanos().div_ceil(1_000_000);
    let deadline = Duration::from_millis(millis.try_into().unwrap_or(u64::MAX));
    Error::unavailable(format!(
        "stopped after {}, not durable: {}",
        humantime::format_duration(deadline),
        behind.join("; ")
    ))
}

#[cfg(test)]
mod tests;
