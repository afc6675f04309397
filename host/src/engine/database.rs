//! The task of one database: capture and upload side by side, started again when they fail.

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level, PageEncoding, Txid, TxidRange};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::status::{DatabaseShared, DatabaseState};
use super::upload;
use super::watch::LogWatcher;
use super::worker::{Turn, Worker};
use crate::capture::{Capture, CaptureOptions, Snapshot};
use crate::policy::Policy;
use crate::settings::DatabaseSettings;
use crate::spool::{Spool, default_meta_path};
use crate::store::Replica;
use crate::{Error, Result};

/// How long a database that cannot be opened is left alone, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the handle asks of a database.
pub(crate) enum Command {
    /// Seal everything that is committed; answers with the last sealed transaction.
    Sync(oneshot::Sender<Result<Option<Txid>>>),
    /// Seal everything, send everything, end.
    Stop,
}

/// Everything a database task needs.
pub(crate) struct Database {
    pub(crate) settings: DatabaseSettings,
    pub(crate) replica: Replica,
    pub(crate) policy: Policy,
    pub(crate) encoding: PageEncoding,
    pub(crate) shared: Arc<DatabaseShared>,
    pub(crate) watcher: Arc<LogWatcher>,
}

impl Database {
    /// Replicates until told to stop.
    pub(crate) async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let mut pause = RETRY_MIN;
        loop {
            let started = Instant::now();
            match self.replicate(&mut commands).await {
                Ok(()) => {
                    self.shared.set_state(DatabaseState::Stopped);
                    return;
                }
                Err(error) => {
                    tracing::error!(database = %self.settings.path.display(), %error, "replication failed");
                    self.shared
                        .set_state(DatabaseState::Failing(error.to_string()));
                    if started.elapsed() > RETRY_MAX {
                        pause = RETRY_MIN;
                    }
                    // Told to stop while failing: the state stays, for it says what is wrong.
                    if self.wait_out(pause, &mut commands, &error).await {
                        return;
                    }
                    pause = pause.saturating_mul(2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Waits before the next attempt, and answers whoever asks meanwhile. `true` to stop.
    async fn wait_out(
        &self,
        pause: Duration,
        commands: &mut mpsc::Receiver<Command>,
        error: &Error,
    ) -> bool {
        let until = Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(until, commands.recv()).await {
                Err(_) => return false,
                Ok(None | Some(Command::Stop)) => return true,
                Ok(Some(Command::Sync(reply))) => {
                    // A caller that went away needs no answer.
                    let _ = reply.send(Err(Error::unavailable(error.to_string())));
                }
            }
        }
    }

    async fn replicate(&self, commands: &mut mpsc::Receiver<Command>) -> Result<()> {
        let files = self.replica.list_all().await?;
        let spool = self.open_spool().await?;
        let (spool, base, durable) = self.reconcile(spool, &files).await?;
        let worker = self.open_worker(spool, base).await?;
        self.shared.restart(worker.capture.last(), durable);
        self.shared.update(|marks| {
            marks.snapshots = Some(
                files
                    .iter()
                    .filter(|file| file.level == Level::SNAPSHOT)
                    .copied()
                    .collect(),
            );
            marks.snapshot_running = false;
            marks.consecutive_failures = 0;
        });
        self.shared.set_state(DatabaseState::Replicating);
        let (snapshots, snapshot_requests) = mpsc::channel(1);
        let uploads = upload::run(
            &self.replica,
            Arc::clone(&self.shared),
            self.reader().await?,
            snapshot_requests,
        );
        tokio::pin!(uploads);
        let capture = self.capture(worker, commands, snapshots);
        tokio::select! {
            result = &mut uploads => result,
            // The last commits are sealed: what is left is to send them.
            result = capture => {
                result?;
                uploads.await
            }
        }
    }

    fn meta_path(&self) -> std::path::PathBuf {
        self.settings
            .meta_path
            .clone()
            .unwrap_or_else(|| default_meta_path(&self.settings.path))
    }

    async fn open_spool(&self) -> Result<Spool> {
        let meta = self.meta_path();
        blocking(move || Spool::open(&meta)).await
    }

    async fn reader(&self) -> Result<Arc<Spool>> {
        self.open_spool().await.map(Arc::new)
    }

    /// Compares the local files with the replica. Returns the transaction the next file follows, if
    /// the local files do not say it, and the last one that is in the replica.
    async fn reconcile(
        &self,
        spool: Spool,
        files: &[ReplicaFile],
    ) -> Result<(Spool, Option<Txid>, Option<Txid>)> {
        let remote_max = files.iter().map(|file| file.name.range().max()).max();
        let newest_l0 = files
            .iter()
            .filter(|f| f.level == Level::L0)
            .max_by_key(|f| f.name);
        let remote = newest_l0.map(|file| (file.name, file.size));
        let (spool, in_step) = blocking(move || {
            let in_step = local_continues(&spool, remote_max, remote)?;
            if !in_step {
                spool.clear()?;
            }
            Ok((spool, in_step))
        })
        .await?;
        if in_step {
            return Ok((spool, None, remote_max));
        }
        let Some(remote_max) = remote_max else {
            return Ok((spool, None, None));
        };
        tracing::warn!(
            database = %self.settings.path.display(), %remote_max,
            "the replica is not what the local state says; going on from the replica"
        );
        let name = FileName::new(TxidRange::single(remote_max));
        if let Some(body) = self.replica.get(Level::L0, name).await? {
            let bytes = crate::store::collect(body).await?;
            let spool = blocking(move || {
                let mut draft = spool.create(remote_max)?;
                draft.write(&bytes)?;
                draft.seal()?;
                Ok(spool)
            })
            .await?;
            return Ok((spool, Some(remote_max), Some(remote_max)));
        }
        Ok((spool, Some(remote_max), Some(remote_max)))
    }

    async fn open_worker(&self, spool: Spool, base: Option<Txid>) -> Result<Box<Worker>> {
        let options = CaptureOptions {
            database: self.settings.path.clone(),
            busy_timeout: self.settings.busy_timeout,
            max_sync_bytes: self.settings.max_sync_bytes,
            encoding: self.encoding,
        };
        let (settings, policy) = (self.settings.clone(), self.policy.clone());
        blocking(move || {
            let capture = Capture::open(options, spool, base)?;
            Ok(Box::new(Worker::new(capture, settings, policy)))
        })
        .await
    }

    async fn capture(
        &self,
        mut worker: Box<Worker>,
        commands: &mut mpsc::Receiver<Command>,
        snapshots: mpsc::Sender<Snapshot>,
    ) -> Result<()> {
        let wake = Arc::new(Notify::new());
        let mut log = self.settings.path.as_os_str().to_owned();
        log.push("-wal");
        let _watch = self
            .watcher
            .watch(std::path::Path::new(&log), Arc::clone(&wake));
        let mut batching = false;
        let mut next = Instant::now();
        loop {
            let command = tokio::select! {
                () = tokio::time::sleep_until(next) => None,
                // While commits are batched, more of them change nothing.
                () = wake.notified(), if !batching => None,
                command = commands.recv() => Some(command.unwrap_or(Command::Stop)),
            };
            let (returned, turn) = self.turn(worker, command.is_some()).await;
            worker = returned;
            let turn = match turn {
                Ok(turn) => turn,
                Err(error) => {
                    if let Some(Command::Sync(reply)) = command {
                        let _ = reply.send(Err(Error::unavailable(error.to_string())));
                    }
                    return Err(error);
                }
            };
            batching = turn.wait < self.settings.monitor_interval;
            next = Instant::now() + turn.wait;
            if let Some(snapshot) = turn.snapshot {
                self.shared.update(|marks| marks.snapshot_running = true);
                // The channel has room: no second snapshot is taken while one runs.
                let _ = snapshots.try_send(snapshot);
            }
            match command {
                Some(Command::Stop) => return Ok(()),
                Some(Command::Sync(reply)) => {
                    let _ = reply.send(Ok(turn.spooled));
                }
                None => {}
            }
        }
    }

    async fn turn(&self, mut worker: Box<Worker>, force: bool) -> (Box<Worker>, Result<Turn>) {
        let shared = Arc::clone(&self.shared);
        let turn = tokio::task::spawn_blocking(move || {
            let turn = worker.turn(&shared, force);
            (worker, turn)
        });
        match turn.await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// Whether the local files go on where the replica ends.
fn local_continues(
    spool: &Spool,
    remote_max: Option<Txid>,
    remote_newest: Option<(FileName, u64)>,
) -> Result<bool> {
    let Some(newest) = spool.newest()? else {
        return Ok(remote_max.is_none());
    };
    let last = newest.name.range().max();
    let Some(remote_max) = remote_max else {
        // Nothing is there: everything must still be here.
        return has_all(spool, Txid::FIRST, last);
    };
    if remote_max > last {
        return Ok(false);
    }
    // The same file on both sides shows that nobody else went on from here.
    if let Some((name, size)) = remote_newest
        && name.range().max() == remote_max
        && spool.names()?.contains(&name)
        && spool.size(name)? != size
    {
        return Ok(false);
    }
    match remote_max.next() {
        Some(next) if next <= last => has_all(spool, next, last),
        _ => Ok(true),
    }
}

fn has_all(spool: &Spool, first: Txid, last: Txid) -> Result<bool> {
    let names = spool.names()?;
    let mut wanted = Some(first);
    while let Some(txid) = wanted.filter(|txid| *txid <= last) {
        if names
            .binary_search(&FileName::new(TxidRange::single(txid)))
            .is_err()
        {
            return Ok(false);
        }
        wanted = txid.next();
    }
    Ok(true)
}

/// Runs blocking work on the pool of the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
