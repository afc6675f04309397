//! The turns of one database: when one is made, and who gets what it led to.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::attention::Attention;
use super::database::{Command, Stop, blocking};
use super::shared::DatabaseShared;
use super::watch::LogWatcher;
use super::worker::{PermittedSnapshot, Turn, TurnKind, Worker};
use crate::capture::Snapshot;
use crate::settings::DatabaseSettings;
use crate::{Error, Result};

/// Where the database at one transaction goes when somebody asked for it.
pub(super) struct Images {
    pub(super) snapshots: mpsc::Sender<PermittedSnapshot>,
    pub(super) verifications: mpsc::Sender<Snapshot>,
}

impl Images {
    fn pass_on(&self, snapshot: Option<PermittedSnapshot>, verification: Option<Snapshot>) {
        if let Some(snapshot) = snapshot {
            // The channel has room: no second snapshot is taken while one runs.
            let _ = self.snapshots.try_send(snapshot);
        }
        if let Some(pages) = verification {
            // If it is not waited for any more, nobody needs it.
            let _ = self.verifications.try_send(pages);
        }
    }
}

/// What the turns of one database need.
pub(super) struct Turns<'a> {
    pub(super) settings: &'a DatabaseSettings,
    pub(super) shared: &'a Arc<DatabaseShared>,
    pub(super) watcher: &'a Arc<LogWatcher>,
    pub(super) images: Images,
}

impl Turns<'_> {
    /// Makes turns until told to stop, or until one fails.
    pub(super) async fn run(
        &self,
        mut worker: Box<Worker>,
        commands: &mut mpsc::Receiver<Command>,
        stop: &mut Stop,
    ) -> Result<()> {
        let interval = self.settings.monitor_interval;
        let watch = self.watcher.watch(&self.settings.path, self.shared.wake());
        let mut attention = Attention::new(watch, interval);
        let mut batching = false;
        let mut next = Instant::now();
        loop {
            let command = tokio::select! {
                biased;
                () = std::future::ready(()), if stop.is_asked() => Some(Command::Stop),
                // Before commands: whoever asks all the time must not keep a checkpoint waiting.
                () = tokio::time::sleep_until(next) => None,
                command = commands.recv() => Some(command.unwrap_or(Command::Stop)),
                // While commits are batched, more of them change nothing.
                () = self.shared.woken(), if !batching => {
                    attention.woken();
                    None
                }
            };
            if command.is_none()
                && let Some(at) = attention.quiet_until(&worker, self.shared)
            {
                next = at;
                continue;
            }
            if worker.has_commits() {
                attention.rest();
            }
            if matches!(command, Some(Command::Stop)) {
                stop.ask();
            }
            let kind = match command {
                None => TurnKind::Regular,
                Some(Command::Sync(_) | Command::Stop) => TurnKind::Seal,
            };
            let (returned, turn) = self.turn(worker, kind).await;
            worker = returned;
            let turn = match turn {
                Ok(turn) => turn,
                Err(error) => {
                    if let Some(Command::Sync(reply)) = command {
                        let _ = reply.send(Err(Error::unavailable(error.to_string())));
                    }
                    self.unless_it_is_busy(error, stop)?;
                    next = Instant::now() + interval;
                    continue;
                }
            };
            batching = turn.is_batching;
            let after = Instant::now() + turn.wait;
            next = match kind {
                TurnKind::Regular => after,
                TurnKind::Seal => next.min(after),
            };
            next = attention.after_turn(batching).unwrap_or(next);
            self.images.pass_on(turn.snapshot, turn.verification);
            match command {
                Some(Command::Stop) => return put_to_rest(worker).await,
                Some(Command::Sync(reply)) => {
                    let _ = reply.send(Ok(turn.spooled));
                }
                None => {}
            }
        }
    }

    /// Goes on after a turn that failed because of a long write transaction of the application:
    /// nothing is lost meanwhile.
    fn unless_it_is_busy(&self, error: Error, stop: &Stop) -> Result<()> {
        if !error.is_busy() || stop.is_asked() {
            return Err(error);
        }
        tracing::debug!(database = %self.settings.path.display(), %error, "busy");
        Ok(())
    }

    async fn turn(&self, mut worker: Box<Worker>, kind: TurnKind) -> (Box<Worker>, Result<Turn>) {
        let shared = Arc::clone(self.shared);
        let turn = tokio::task::spawn_blocking(move || {
            let turn = worker.turn(&shared, kind);
            (worker, turn)
        });
        match turn.await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// What is left to do once nothing is captured any more.
async fn put_to_rest(mut worker: Box<Worker>) -> Result<()> {
    blocking(move || {
        worker.capture.keep_hashes();
        Ok(())
    })
    .await
}
