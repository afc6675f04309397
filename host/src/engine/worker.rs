//! One turn of a database: look, decide, seal, checkpoint. Runs on a blocking thread.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockkeeper_core::policy::{CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts};
use lockkeeper_ltx::Txid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::status::{DatabaseShared, LogHeld, Marks};
use crate::Result;
use crate::capture::{Capture, Sealed, Snapshot};
use crate::clock;
use crate::policy::Policy;
use crate::settings::DatabaseSettings;

/// The part of a database that blocks, with what it remembers between turns.
pub(crate) struct Worker {
    pub(crate) capture: Capture,
    settings: DatabaseSettings,
    policy: Policy,
    /// When the oldest commit that waits was noticed.
    pending_since: Option<Instant>,
    last_sync: Option<Instant>,
    last_checkpoint: Instant,
    written_since_checkpoint: bool,
    /// When a snapshot was last proposed but could not be taken, or was taken.
    snapshot_asked: Option<Instant>,
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
    pub(crate) spooled: Option<Txid>,
    /// A snapshot to send.
    pub(crate) snapshot: Option<PermittedSnapshot>,
    /// The pages that a verification asked for.
    pub(crate) verification: Option<Snapshot>,
}

/// A snapshot and the permission to send it.
pub(crate) struct PermittedSnapshot {
    pub(super) snapshot: Snapshot,
    pub(super) permit: OwnedSemaphorePermit,
    /// Ends when the snapshot must let go of the log.
    pub(super) give_up: oneshot::Receiver<()>,
}

/// A snapshot that is being sent. Dropped, it is given up.
struct Hold {
    since: Instant,
    _give_up: oneshot::Sender<()>,
}

/// How long a snapshot may hold back a checkpoint that is due.
const SNAPSHOT_HOLD_MAX: Duration = Duration::from_secs(300);
/// How large a log may become, in pages, while a snapshot holds it or a checkpoint cannot empty it,
/// if `truncate-page-n` does not say: half a gigabyte of pages of 4 KiB.
const LOG_PAGES_MAX: u32 = 121_359;
/// How soon a snapshot is asked for again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Files that are sealed to catch up with an application that goes on to commit, before it is kept
/// out for a moment.
const SEALS_BEFORE_SNAPSHOT_MAX: u32 = 4;

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
            last_checkpoint: Instant::now(),
            written_since_checkpoint: false,
            snapshot_asked: None,
            hold: None,
            long_work,
        }
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
            spooled: None,
            snapshot: None,
            verification: None,
        };
        if self.capture.is_pending()? {
            let since = *self.pending_since.get_or_insert(now);
            shared.update(|marks| marks.waiting.noticed(SystemTime::now()));
            let delay = match kind {
                TurnKind::Regular => self.sync_delay(shared, since, now),
                TurnKind::Seal => Duration::ZERO,
            };
            if delay.is_zero() {
                self.seal(shared)?;
                turn.wait = turn.wait.min(self.wait_for_more(shared, kind)?);
            } else {
                turn.wait = turn.wait.min(delay);
            }
        }
        if kind == TurnKind::Regular {
            self.look_at_log(shared)?;
            self.checkpoint(shared)?;
            turn.snapshot = self.snapshot(shared)?;
            turn.verification = self.verification(shared)?;
        }
        turn.spooled = self.capture.last();
        shared.update(|marks| {
            marks.needs_from = self.capture.needs_from();
            marks.undone = self.capture.undone().or(marks.undone);
        });
        Ok(turn)
    }

    /// How long to wait for what was committed while the last file was written.
    fn wait_for_more(&mut self, shared: &DatabaseShared, kind: TurnKind) -> Result<Duration> {
        if kind == TurnKind::Seal || !self.capture.is_pending()? {
            return Ok(Duration::MAX);
        }
        let now = Instant::now();
        self.pending_since = Some(now);
        Ok(self.sync_delay(shared, now, now))
    }

    fn sync_delay(&self, shared: &DatabaseShared, since: Instant, now: Instant) -> Duration {
        let marks = shared.marks();
        let facts = SyncFacts {
            now_ms: unix_ms(),
            committed: number(marks.spooled).saturating_add(1),
            spooled: number(marks.spooled),
            durable: number(marks.durable),
            oldest_pending_age_ms: millis(now.saturating_duration_since(since)),
            since_last_sync_ms: self
                .last_sync
                .map(|at| millis(now.saturating_duration_since(at))),
            waiters: 0,
            last_put_latency_ms: marks.last_put_latency.map(millis),
            consecutive_failures: marks.consecutive_failures,
            sync_interval_ms: millis(self.settings.replica.sync_interval),
        };
        Duration::from_millis(self.policy.plan_sync(&facts))
    }

    fn seal(&mut self, shared: &DatabaseShared) -> Result<()> {
        let written = &mut self.written_since_checkpoint;
        self.capture.seal_committed(|file| {
            sealed(shared, file);
            *written = true;
        })?;
        self.pending_since = None;
        self.last_sync = Some(Instant::now());
        Ok(())
    }

    /// Keeps the log within its bound while a snapshot is sent.
    fn look_at_log(&mut self, shared: &DatabaseShared) -> Result<()> {
        let (pages, bytes) = self.capture.log_size()?;
        let is_running = shared.marks().snapshot_running;
        shared.update(|marks| {
            marks.log_bytes = bytes;
            marks.log_bytes_max = marks.log_bytes_max.max(bytes);
        });
        let Some(hold) = self.hold.take_if(|_| is_running) else {
            self.hold = None;
            return Ok(());
        };
        let due = self.last_checkpoint.elapsed() > self.settings.checkpoint_interval;
        let is_too_long = hold.since.elapsed() > SNAPSHOT_HOLD_MAX && due;
        if pages < self.log_pages_max() && !is_too_long {
            self.hold = Some(hold);
            return Ok(());
        }
        tracing::warn!(
            database = %self.settings.path.display(), log_bytes = bytes,
            "a snapshot is given up so that the log can be emptied; it is made from files of the \
             replica instead"
        );
        shared.update(|marks| marks.snapshot_given_up = true);
        Ok(())
    }

    fn log_pages_max(&self) -> u32 {
        match self.settings.truncate_pages {
            0 => LOG_PAGES_MAX,
            pages => pages,
        }
    }

    /// Alarms if a log that is too large could not be emptied, and ends the alarm.
    fn watch_log(&self, shared: &DatabaseShared) -> Result<()> {
        let (pages, bytes) = self.capture.log_size()?;
        let held = shared.marks().log_held;
        let is_held = pages >= self.log_pages_max() && self.capture.wal_pages()? > 0;
        if is_held && held.is_none() {
            tracing::error!(
                database = %self.settings.path.display(), log_bytes = bytes,
                "the log cannot be emptied and grows: a connection keeps a read transaction open; \
                 end it"
            );
        }
        let since = held.map_or_else(SystemTime::now, |held| held.since);
        shared.update(|marks| marks.log_held = is_held.then_some(LogHeld { since, bytes }));
        Ok(())
    }

    fn checkpoint(&mut self, shared: &DatabaseShared) -> Result<()> {
        if !self.written_since_checkpoint {
            return Ok(());
        }
        let facts = CheckpointFacts {
            now_ms: unix_ms(),
            wal_pages: self.capture.wal_pages()?,
            since_last_checkpoint_ms: millis(self.last_checkpoint.elapsed()),
            written_since_last_checkpoint: self.written_since_checkpoint,
            snapshot_running: shared.marks().snapshot_running,
            min_checkpoint_pages: self.settings.min_checkpoint_pages,
            truncate_pages: self.settings.truncate_pages,
            checkpoint_interval_ms: millis(self.settings.checkpoint_interval),
        };
        let truncate = match self.policy.plan_checkpoint(&facts) {
            CheckpointProposal::None => return Ok(()),
            CheckpointProposal::Passive => false,
            CheckpointProposal::Truncate => true,
        };
        let report = self.capture.checkpoint(truncate)?;
        report.sealed.iter().for_each(|file| sealed(shared, *file));
        self.last_checkpoint = Instant::now();
        // What could not be copied is still to be: the application may never write again.
        self.written_since_checkpoint = !report.complete;
        shared.checkpointed(report.write_lock_held);
        tracing::debug!(
            complete = report.complete,
            held_us = u64::try_from(report.write_lock_held.as_micros()).unwrap_or(u64::MAX),
            "checkpoint"
        );
        self.watch_log(shared)?;
        // Our own small commit after it is sent along, and does not count as the application's.
        self.capture.seal_committed(|file| sealed(shared, file))
    }

    /// The database at its last transaction, all of which is sealed.
    fn image(&mut self, shared: &DatabaseShared) -> Result<Option<Snapshot>> {
        for _ in 0..SEALS_BEFORE_SNAPSHOT_MAX {
            self.seal(shared)?;
            if let Some(image) = self.capture.snapshot()? {
                return Ok(Some(image));
            }
        }
        let image = self
            .capture
            .snapshot_behind_barrier(|file| sealed(shared, file))?;
        Ok(image.map(|(image, held)| {
            shared.checkpointed(held);
            image
        }))
    }

    fn verification(&mut self, shared: &DatabaseShared) -> Result<Option<Snapshot>> {
        if !shared.marks().verification_asked {
            return Ok(None);
        }
        let pages = self.image(shared)?;
        if pages.is_some() {
            shared.update(|marks| marks.verification_asked = false);
        }
        Ok(pages)
    }

    fn snapshot(&mut self, shared: &DatabaseShared) -> Result<Option<PermittedSnapshot>> {
        let marks = shared.marks();
        let asked_just_now = self
            .snapshot_asked
            .is_some_and(|at| at.elapsed() < SNAPSHOT_PAUSE);
        let needed = needed_snapshot(&marks);
        // Nothing new since the last one: nothing to ask.
        if needed.is_none() && (marks.durable.is_none() || marks.snapshot >= marks.durable) {
            return Ok(None);
        }
        if marks.snapshot_running || asked_just_now {
            return Ok(None);
        }
        let Some(snapshots) = shared.snapshots() else {
            return Ok(None);
        };
        let Ok(permit) = Arc::clone(&self.long_work).try_acquire_owned() else {
            return Ok(None);
        };
        self.snapshot_asked = Some(Instant::now());
        let facts = SnapshotFacts {
            now_ms: unix_ms(),
            database_bytes: self.capture.database_bytes(),
            committed: number(marks.spooled),
            spooled: number(marks.spooled),
            durable: number(marks.durable),
            snapshots,
            snapshot_interval_ms: millis(self.settings.life.snapshot_interval),
        };
        let is_needed = needed.is_some();
        let Some(reason) = needed.or_else(|| self.policy.plan_snapshot(&facts)) else {
            return Ok(None);
        };
        // What is wrong with the replica is not to be copied from there.
        if marks.snapshot_given_up && !is_needed {
            shared.update(|marks| marks.snapshot_from_files = Some(reason));
            return Ok(None);
        }
        // Commits that came since the last file must be in one before a snapshot can follow it.
        if marks.distrusted.is_some() && self.capture.last() <= marks.distrusted {
            // A snapshot of its own number is there already, and may be what is wrong.
            self.capture.commit_of_ours()?;
        }
        let Some(snapshot) = self.image(shared)? else {
            return Ok(None);
        };
        tracing::info!(txid = %snapshot.txid, %reason, "snapshot");
        let (sender, give_up) = oneshot::channel();
        self.hold = Some(Hold {
            since: Instant::now(),
            _give_up: sender,
        });
        shared.update(|marks| marks.snapshot_running = true);
        Ok(Some(PermittedSnapshot {
            snapshot,
            permit,
            give_up,
        }))
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

/// Why a snapshot must be taken whatever the policy says.
fn needed_snapshot(marks: &Marks) -> Option<String> {
    let lost = marks.lost;
    let lost = lost.map(|lost| format!("the replica has lost {lost}; a restore must lead past it"));
    let changed = marks.page_size_changed;
    let changed = changed.map(|txid| format!("the page size of the database changed with {txid}"));
    let distrusted = marks
        .distrusted
        .filter(|_| marks.snapshot <= marks.distrusted);
    let failed = distrusted.map(|_| "the last verification failed".to_owned());
    let asked = marks.snapshot_asked.then(|| "it was asked for".to_owned());
    lost.or(changed).or(failed).or(asked)
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
