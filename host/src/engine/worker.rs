//! One turn of a database: look, decide, seal, checkpoint. Runs on a blocking thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockkeeper_core::policy::{CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts};
use lockkeeper_ltx::Txid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::status::{DatabaseShared, Marks};
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
}

/// A snapshot and the permission to send it.
pub(crate) type PermittedSnapshot = (Snapshot, OwnedSemaphorePermit);

/// How soon a snapshot is asked for again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

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
        };
        if self.capture.is_pending()? {
            let since = *self.pending_since.get_or_insert(now);
            let delay = match kind {
                TurnKind::Regular => self.sync_delay(shared, since, now),
                TurnKind::Seal => Duration::ZERO,
            };
            if delay.is_zero() {
                self.seal(shared)?;
            } else {
                turn.wait = turn.wait.min(delay);
            }
        }
        if kind == TurnKind::Regular {
            self.checkpoint(shared)?;
            turn.snapshot = self.snapshot(shared)?;
        }
        turn.spooled = self.capture.last();
        shared.update(|marks| {
            marks.needs_from = self.capture.needs_from();
            marks.undone = self.capture.undone().or(marks.undone);
        });
        Ok(turn)
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
        while let Some(sealed) = self.capture.seal_next()? {
            self.sealed(shared, sealed);
            self.written_since_checkpoint = true;
        }
        self.pending_since = None;
        self.last_sync = Some(Instant::now());
        Ok(())
    }

    fn sealed(&self, shared: &DatabaseShared, sealed: Sealed) {
        shared.spooled(sealed.txid());
        match sealed {
            Sealed::Incremental(txid) => tracing::debug!(%txid, "sealed"),
            Sealed::Compared(txid) => {
                tracing::info!(%txid, "sealed the pages that changed unseen");
            }
            Sealed::Full(txid) => tracing::info!(%txid, "sealed every page"),
        }
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
        report
            .sealed
            .iter()
            .for_each(|sealed| self.sealed(shared, *sealed));
        self.last_checkpoint = Instant::now();
        // What could not be copied is still to be: the application may never write again.
        self.written_since_checkpoint = !report.complete;
        shared.checkpointed(report.write_lock_held);
        tracing::debug!(
            complete = report.complete,
            held_us = u64::try_from(report.write_lock_held.as_micros()).unwrap_or(u64::MAX),
            "checkpoint"
        );
        // Our own small commit after it is sent along, and does not count as the application's.
        while let Some(sealed) = self.capture.seal_next()? {
            self.sealed(shared, sealed);
        }
        Ok(())
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
        let Some(reason) = needed.or_else(|| self.policy.plan_snapshot(&facts)) else {
            return Ok(None);
        };
        // Commits that came since the last file must be in one before a snapshot can follow it.
        self.seal(shared)?;
        let snapshot = self.capture.snapshot()?;
        Ok(snapshot.map(|snapshot| {
            tracing::info!(txid = %snapshot.txid, %reason, "snapshot");
            (snapshot, permit)
        }))
    }
}

/// Why a snapshot must be taken whatever the policy says.
fn needed_snapshot(marks: &Marks) -> Option<String> {
    let lost = marks.lost;
    let lost = lost.map(|lost| format!("the replica has lost {lost}; a restore must lead past it"));
    let changed = marks.page_size_changed;
    lost.or(changed.map(|txid| format!("the page size of the database changed with {txid}")))
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
