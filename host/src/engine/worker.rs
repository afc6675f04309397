//! One turn of a database: look, decide, seal, checkpoint. Runs on a blocking thread.

mod images;
mod log;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockkeeper_core::guard::budget::{self, Class};
use lockkeeper_core::policy::SyncFacts;
use lockkeeper_ltx::Txid;
use tokio::sync::Semaphore;

use self::images::{Hold, needed_snapshot};
use super::shared::{DatabaseShared, Marks};
use crate::Result;
use crate::capture::{Capture, Sealed, Snapshot};
use crate::clock;
use crate::policy::Policy;
use crate::settings::DatabaseSettings;

pub(crate) use self::images::PermittedSnapshot;

/// The part of a database that blocks, with what it remembers between turns.
pub(crate) struct Worker {
    pub(crate) capture: Capture,
    settings: DatabaseSettings,
    policy: Policy,
    /// When the oldest commit that waits was noticed.
    pending_since: Option<Instant>,
    last_sync: Option<Instant>,
    /// When commits of the application were last sealed.
    last_written: Instant,
    last_checkpoint: Instant,
    /// Since when checkpoints cannot copy everything, because somebody reads it.
    held_by_reader: Option<Instant>,
    written_since_checkpoint: bool,
    /// When a snapshot was last proposed but could not be taken, or was taken.
    snapshot_asked: Option<Instant>,
    /// When the policy is asked again although nothing was committed.
    decides_at: Instant,
    /// Set by whatever is not over with this turn.
    again_soon: bool,
    /// The snapshot that holds the log, if one does.
    hold: Option<Hold>,
    /// Snapshots and merges that may run at a time, over all databases.
    long_work: Arc<Semaphore>,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TurnKind {
    /// Everything that is due, when the policy says so.
    Regular,
    /// Sealing what is committed, at once, and nothing else: somebody waits for it.
    Seal,
}

/// What a turn led to.
pub(crate) struct Turn {
    /// When to look again although nothing wakes us.
    pub(crate) wait: Duration,
    /// Whether commits wait until then on purpose, and more of them change nothing.
    pub(crate) is_batching: bool,
    pub(crate) spooled: Option<Txid>,
    /// A snapshot to send.
    pub(crate) snapshot: Option<PermittedSnapshot>,
    /// The pages that a verification asked for.
    pub(crate) verification: Option<Snapshot>,
}

/// How long the policy is not asked while nothing is committed, at most.
const DECISIONS_MAX: Duration = Duration::from_secs(60);

impl Worker {
    pub(crate) fn new(
        capture: Capture,
        settings: DatabaseSettings,
        policy: Policy,
        long_work: Arc<Semaphore>,
    ) -> Self {
        Self {
            capture,
            settings,
            policy,
            pending_since: None,
            last_sync: None,
            last_written: Instant::now(),
            last_checkpoint: Instant::now(),
            held_by_reader: None,
            written_since_checkpoint: false,
            snapshot_asked: None,
            decides_at: Instant::now(),
            again_soon: false,
            hold: None,
            long_work,
        }
    }

    /// Whether a turn would find nothing to do. Reads memory, and looks up two names.
    pub(crate) fn is_quiet(&self, shared: &DatabaseShared) -> bool {
        Instant::now() < self.decides_at
            && self.capture.is_certainly_idle()
            && self.capture.is_in_place()
            && !self.capture.is_disturbed()
            && shared.read(|marks| !marks.verification_asked && needed_snapshot(marks).is_none())
    }

    /// Whether commits wait, or that cannot be told at the moment.
    pub(crate) fn has_commits(&self) -> bool {
        !self.capture.is_certainly_idle()
    }

    /// When the policy is asked again although nothing was committed.
    pub(crate) fn decides_at(&self) -> tokio::time::Instant {
        self.decides_at.into()
    }

    /// Seals what was committed and does what else is due.
    pub(crate) fn turn(&mut self, shared: &DatabaseShared, kind: TurnKind) -> Result<Turn> {
        if !self.capture.is_in_place() {
            // What was committed before is still in the files that are open here.
            if let Err(error) = self.seal(shared) {
                tracing::warn!(%error, "the end of a database that was replaced is lost");
            }
            self.capture.keep_hashes();
            return Err(crate::Error::unavailable(format!(
                "the database {} or its log was replaced or removed while it was replicated; \
                 replication starts again with what is there now",
                self.settings.path.display()
            )));
        }
        let now = Instant::now();
        let mut turn = Turn {
            wait: self.settings.monitor_interval,
            is_batching: false,
            spooled: None,
            snapshot: None,
            verification: None,
        };
        self.again_soon = false;
        if self.capture.is_pending()? {
            self.again_soon = true;
            let since = *self.pending_since.get_or_insert(now);
            shared.update(|marks| marks.waiting.noticed(SystemTime::now()));
            let delay = match kind {
                TurnKind::Regular => self.sync_delay(shared, since, now)?,
                TurnKind::Seal => Duration::ZERO,
            };
            let delay = if delay.is_zero() {
                self.seal(shared)?;
                self.wait_for_more(shared, kind)?
            } else {
                Some(delay)
            };
            if let Some(delay) = delay {
                turn.is_batching = true;
                turn.wait = turn.wait.min(delay);
            }
        }
        if kind == TurnKind::Regular {
            self.look_at_log(shared)?;
            self.checkpoint(shared)?;
            turn.snapshot = self.snapshot(shared)?;
            turn.verification = self.verification(shared)?;
        }
        self.decides_at = self.next_decision(shared, kind, now);
        turn.spooled = self.capture.last();
        shared.update(|marks| {
            marks.needs_from = self.capture.needs_from();
            marks.undone = self.capture.undone().or(marks.undone);
        });
        Ok(turn)
    }

    /// When something may be due, after a turn that began at `now`.
    fn next_decision(&self, shared: &DatabaseShared, kind: TurnKind, now: Instant) -> Instant {
        let settings = &self.settings;
        let soon = now + settings.monitor_interval;
        let is_settled = shared.read(|marks| {
            marks.snapshot.is_some() && !marks.snapshot_running && needed_snapshot(marks).is_none()
        });
        if kind == TurnKind::Seal || self.again_soon || !is_settled {
            return soon;
        }
        // Zero turns a schedule off.
        let schedules = [
            settings.checkpoint_interval,
            settings.life.snapshot_interval,
        ];
        let schedules = schedules.into_iter().filter(|it| !it.is_zero());
        let interval = schedules.fold(DECISIONS_MAX, Duration::min);
        let checkpoint = self.last_checkpoint + settings.checkpoint_interval;
        let due = (self.written_since_checkpoint && checkpoint > now).then_some(checkpoint);
        due.map_or(now + interval, |due| due.min(now + interval))
            .max(soon)
    }

    /// How long what was committed while the last file was written is to wait, if anything was.
    fn wait_for_more(
        &mut self,
        shared: &DatabaseShared,
        kind: TurnKind,
    ) -> Result<Option<Duration>> {
        if kind == TurnKind::Seal || !self.capture.is_pending()? {
            return Ok(None);
        }
        let now = Instant::now();
        self.pending_since = Some(now);
        self.sync_delay(shared, now, now).map(Some)
    }

    fn sync_delay(
        &self,
        shared: &DatabaseShared,
        since: Instant,
        now: Instant,
    ) -> Result<Duration> {
        let pending_bytes = self.capture.pending_bytes()?;
        let facts = shared.read(|marks| SyncFacts {
            now_ms: unix_ms(),
            committed: number(marks.spooled).saturating_add(1),
            spooled: number(marks.spooled),
            durable: number(marks.durable),
            pending_bytes,
            unsent_transactions: unsent(marks),
            oldest_pending_age_ms: millis(now.saturating_duration_since(since)),
            since_last_sync_ms: self
                .last_sync
                .map(|at| millis(now.saturating_duration_since(at))),
            last_put_latency_ms: marks.last_put_latency.map(millis),
            consecutive_failures: marks.consecutive_failures,
            sync_interval_ms: millis(self.settings.replica.sync_interval),
            budget_left: shared.spending.left(Class::Upload),
        });
        let wait_ms = self.policy.plan_sync(&facts);
        let cost = budget::of_sync(&facts, wait_ms);
        shared.spending.spend(Class::Upload, cost);
        Ok(Duration::from_millis(wait_ms))
    }

    fn seal(&mut self, shared: &DatabaseShared) -> Result<()> {
        let (written, last_written) = (&mut self.written_since_checkpoint, &mut self.last_written);
        self.capture.seal_committed(|file| {
            sealed(shared, file);
            *written = true;
            *last_written = Instant::now();
        })?;
        self.pending_since = None;
        self.last_sync = Some(Instant::now());
        Ok(())
    }
}

/// Tells everybody of a sealed file.
fn sealed(shared: &DatabaseShared, sealed: Sealed) {
    shared.spooled(sealed.txid());
    match sealed {
        Sealed::Incremental(txid) => tracing::debug!(%txid, "sealed"),
        Sealed::Compared(txid) => {
            tracing::info!(%txid, "sealed the pages that changed unseen");
        }
        Sealed::Full(txid) => tracing::info!(%txid, "sealed every page"),
    }
}

/// Transactions that are sealed and not durable.
fn unsent(marks: &Marks) -> u32 {
    let count = number(marks.spooled).saturating_sub(number(marks.durable));
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn number(txid: Option<Txid>) -> u64 {
    txid.map_or(0, Txid::get)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unix_ms() -> u64 {
    u64::try_from(clock::now_ms()).unwrap_or(0)
}
