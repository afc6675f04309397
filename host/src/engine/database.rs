//! The task of one database: capture and upload side by side, started again when they fail.

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::ownership::{Token, Writer};
use lockkeeper_ltx::{PageEncoding, Txid};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::absent::Absence;
use super::holds::{Holds, identity};
use super::ownership::Ownership;
use super::shared::DatabaseShared;
use super::status::DatabaseState;
use super::turns::{Images, Turns};
use super::upkeep::Upkeep;
use super::upload::Uploads;
use super::verification::Verification;
use super::watch::LogWatcher;
use super::worker::{PermittedSnapshot, Worker};
use crate::capture::{Capture, CaptureOptions, Snapshot};
use crate::lock::StateLock;
use crate::policy::Policy;
use crate::settings::DatabaseSettings;
use crate::spool::Spool;
use crate::store::Replica;
use crate::{Error, ErrorKind, Result};

/// How long a database that cannot be opened is left alone, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How often the last flush is tried. A lock that is busy for a moment must not cost it; a database
/// that is not there must not delay the end of the application.
const STOP_TRIES: u32 = 3;
/// What the handle asks of a database.
pub(crate) enum Command {
    /// Seal everything that is committed; answers with the last sealed transaction.
    Sync(oneshot::Sender<Result<Option<Txid>>>),
    /// Seal everything, send everything, end.
    Stop,
}

/// Whether the task was told to end, and how often it failed to do so in order.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: bool,
    failures: u32,
}

impl Stop {
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    fn count_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    fn is_given_up(&self) -> bool {
        self.failures >= STOP_TRIES
    }
}

/// What a database has before it begins.
pub(super) struct Prepared {
    pub(super) lock: Arc<StateLock>,
    pub(super) ownership: Arc<Ownership>,
}

/// Everything a database task needs.
pub(crate) struct Database {
    pub(crate) settings: DatabaseSettings,
    /// `None` until they could be taken.
    pub(super) holds: Option<Holds>,
    /// `None` until the state directory said who we are.
    pub(super) ownership: Option<Arc<Ownership>>,
    pub(crate) replica: Replica,
    pub(crate) policy: Policy,
    pub(crate) encoding: PageEncoding,
    pub(crate) shared: Arc<DatabaseShared>,
    pub(crate) watcher: Arc<LogWatcher>,
    pub(crate) long_work: Arc<Semaphore>,
}

impl Database {
    /// Replicates until told to stop.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut pause = RETRY_MIN;
        let mut stop = Stop::default();
        loop {
            let started = Instant::now();
            let replicated = async {
                let prepared = self.prepare().await?;
                match self
                    .while_absent(&prepared, &mut commands, &mut stop)
                    .await?
                {
                    Absence::Over => self.replicate(prepared, &mut commands, &mut stop).await,
                    Absence::Stopped => Ok(()),
                }
            };
            let error = match replicated.await {
                Ok(()) => return self.shared.set_state(DatabaseState::Stopped),
                Err(error) => error,
            };
            tracing::error!(database = %self.settings.path.display(), %error, "replication failed");
            if error.kind() == ErrorKind::Fenced {
                return self.stay_fenced(&mut commands, &error, &stop).await;
            }
            self.shared
                .set_state(DatabaseState::Failing(error.to_string()));
            if started.elapsed() > RETRY_MAX {
                pause = RETRY_MIN;
            }
            self.wait_out(pause, &mut commands, &error, &mut stop).await;
            if stop.is_given_up() {
                // The state stays, for it says what is wrong.
                return;
            }
            pause = pause.saturating_mul(2).min(RETRY_MAX);
        }
    }

    /// Answers that nothing is sent until told to end. The state stays, for it says why, and so do
    /// the local files: the next start takes the replica over.
    async fn stay_fenced(
        &self,
        commands: &mut mpsc::Receiver<Command>,
        error: &Error,
        stop: &Stop,
    ) {
        while !stop.is_asked()
            && let Some(Command::Sync(reply)) = commands.recv().await
        {
            // A caller that went away needs no answer.
            let _ = reply.send(Err(Error::new(ErrorKind::Fenced, error.to_string())));
        }
    }

    /// Waits before the next attempt, and answers whoever asks meanwhile.
    async fn wait_out(
        &self,
        pause: Duration,
        commands: &mut mpsc::Receiver<Command>,
        error: &Error,
        stop: &mut Stop,
    ) {
        let until = Instant::now() + pause;
        while !stop.is_asked() {
            match tokio::time::timeout_at(until, commands.recv()).await {
                Err(_) => return,
                Ok(None | Some(Command::Stop)) => stop.ask(),
                Ok(Some(Command::Sync(reply))) => {
                    // A caller that went away needs no answer.
                    let _ = reply.send(Err(Error::unavailable(error.to_string())));
                }
            }
        }
        stop.count_failure();
        tokio::time::sleep(self.settings.shutdown_retry.min(pause)).await;
    }

    /// Takes what nobody else may use meanwhile, and finds out who we are.
    async fn prepare(&mut self) -> Result<Prepared> {
        let holds = match self.holds.take() {
            Some(holds) => holds,
            None => {
                let settings = self.settings.clone();
                blocking(move || Holds::take(&settings)).await?
            }
        };
        let lock = Arc::clone(&self.holds.insert(holds).lock);
        let ownership = match &self.ownership {
            Some(ownership) => Arc::clone(ownership),
            None => {
                let meta = self.settings.meta_path();
                let name = self.settings.path.file_name().unwrap_or_default();
                let writer = Writer {
                    owner: blocking(move || identity(&meta)).await?,
                    run: Token::new(rand::random()),
                    database: name.to_string_lossy().into_owned(),
                };
                let shared = Arc::clone(&self.shared);
                let policy = self.policy.clone();
                Arc::new(Ownership::new(self.replica.clone(), writer, shared, policy))
            }
        };
        self.ownership = Some(Arc::clone(&ownership));
        Ok(Prepared { lock, ownership })
    }

    async fn replicate(
        &self,
        Prepared { lock, ownership }: Prepared,
        commands: &mut mpsc::Receiver<Command>,
        stop: &mut Stop,
    ) -> Result<()> {
        let spool = self.open_spool(&lock).await?;
        let (spool, remote, base) = match self.claim(&ownership).await {
            Ok(remote) => {
                let (spool, base) = self.reconcile(spool, &remote, &ownership).await?;
                (spool, Some(remote), base)
            }
            // What is committed is captured all the same, and sent when the replica is back.
            Err(error) => (self.unless_it_is_new(spool, error).await?, None, None),
        };
        let worker = self.open_worker(spool, base).await?;
        self.shared.restart(worker.capture.last());
        self.shared
            .update(|marks| marks.needs_from = worker.capture.needs_from());
        if let Some(remote) = &remote {
            let durable = base.or_else(|| remote.last_in_order());
            self.shared.reached(remote.files.clone(), durable);
            self.shared.set_state(DatabaseState::Replicating);
        }
        let (snapshots, snapshot_requests) = mpsc::channel(1);
        let (verifications, pages) = mpsc::channel(1);
        let (captured, capture_ended) = watch::channel(false);
        let spool = Arc::new(self.open_spool(&lock).await?);
        let last = worker.capture.last();
        let uploads = self.uploads(&ownership, &spool, last, capture_ended);
        let upkeep = self.upkeep(&ownership, spool);
        let verification = self.verification(pages);
        let uploads = async {
            if remote.is_none() {
                uploads.reach().await?;
            }
            look_after(
                &ownership,
                &uploads,
                &upkeep,
                verification,
                snapshot_requests,
            )
            .await
        };
        tokio::pin!(uploads);
        let turns = Turns {
            settings: &self.settings,
            shared: &self.shared,
            watcher: &self.watcher,
            images: Images {
                snapshots,
                verifications,
            },
        };
        let capture = turns.run(worker, commands, stop);
        tokio::select! {
            result = &mut uploads => result,
            // The last commits are sealed: what is left is to send them.
            result = capture => {
                result?;
                captured.send_replace(true);
                uploads.await
            }
        }
    }

    fn uploads<'a>(
        &'a self,
        ownership: &'a Ownership,
        spool: &Arc<Spool>,
        sealed_before: Option<Txid>,
        ended: watch::Receiver<bool>,
    ) -> Uploads<'a> {
        Uploads {
            replica: &self.replica,
            ownership,
            shared: &self.shared,
            spool: Arc::clone(spool),
            sealed_before,
            retry_at_end: self.settings.shutdown_retry,
            ended,
        }
    }

    fn upkeep<'a>(&'a self, ownership: &'a Ownership, spool: Arc<Spool>) -> Upkeep<'a> {
        Upkeep {
            replica: &self.replica,
            ownership,
            shared: &self.shared,
            spool,
            policy: &self.policy,
            life: &self.settings.life,
            encoding: self.encoding,
            long_work: Arc::clone(&self.long_work),
        }
    }

    fn verification(&self, pages: mpsc::Receiver<Snapshot>) -> Verification<'_> {
        Verification {
            replica: &self.replica,
            shared: &self.shared,
            policy: &self.policy,
            meta: self.settings.meta_path(),
            interval: self.settings.life.validation,
            long_work: Arc::clone(&self.long_work),
            pages,
        }
    }

    pub(super) async fn open_spool(&self, lock: &Arc<StateLock>) -> Result<Spool> {
        let (meta, lock) = (self.settings.meta_path(), Arc::clone(lock));
        blocking(move || Ok(Spool::open(&meta)?.with_lock(lock))).await
    }

    async fn open_worker(&self, spool: Spool, base: Option<Txid>) -> Result<Box<Worker>> {
        let options = CaptureOptions {
            database: self.settings.path.clone(),
            busy_timeout: self.settings.busy_timeout,
            max_sync_bytes: self.settings.max_sync_bytes,
            encoding: self.encoding,
        };
        let (settings, policy) = (self.settings.clone(), self.policy.clone());
        let long_work = Arc::clone(&self.long_work);
        blocking(move || {
            let capture = Capture::open(options, spool, base)?;
            Ok(Box::new(Worker::new(capture, settings, policy, long_work)))
        })
        .await
    }
}

/// Does what a replica needs that was reached, until everything is sent.
async fn look_after(
    ownership: &Ownership,
    uploads: &Uploads<'_>,
    upkeep: &Upkeep<'_>,
    verification: Verification<'_>,
    snapshots: mpsc::Receiver<PermittedSnapshot>,
) -> Result<()> {
    let sent = async {
        uploads.run(snapshots).await?;
        ownership.note_last().await
    };
    tokio::select! {
        result = sent => result,
        result = upkeep.run() => result,
        result = verification.run() => result,
        result = ownership.keep_noting() => result,
    }
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
