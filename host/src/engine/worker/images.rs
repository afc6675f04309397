//! The database at one transaction, for whoever asked for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockkeeper_core::guard::budget::{self, Class};
use lockkeeper_core::policy::SnapshotFacts;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Worker, millis, number, sealed, unix_ms};
use crate::Result;
use crate::capture::Snapshot;
use crate::engine::shared::{DatabaseShared, Marks};

/// A snapshot and the permission to send it.
pub(crate) struct PermittedSnapshot {
    pub(in crate::engine) snapshot: Snapshot,
    pub(in crate::engine) permit: OwnedSemaphorePermit,
    /// Ends when the snapshot must let go of the log.
    pub(in crate::engine) give_up: oneshot::Receiver<()>,
}

/// A snapshot that is being sent. Dropped, it is given up.
pub(super) struct Hold {
    pub(super) since: Instant,
    _give_up: oneshot::Sender<()>,
}

/// How soon a snapshot is asked for again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);
/// Files that are sealed to catch up with an application that goes on to commit, before it is kept
/// out for a moment.
const SEALS_BEFORE_SNAPSHOT_MAX: u32 = 4;

impl Worker {
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

    pub(super) fn verification(&mut self, shared: &DatabaseShared) -> Result<Option<Snapshot>> {
        if !shared.read(|marks| marks.verification_asked) {
            return Ok(None);
        }
        let pages = self.image(shared)?;
        if pages.is_some() {
            shared.update(|marks| marks.verification_asked = false);
        }
        Ok(pages)
    }

    pub(super) fn snapshot(
        &mut self,
        shared: &DatabaseShared,
    ) -> Result<Option<PermittedSnapshot>> {
        let needed = shared.read(needed_snapshot);
        let (has_new, is_running) = shared.read(|marks| {
            let has_new = marks.durable.is_some() && marks.snapshot < marks.durable;
            (has_new, marks.snapshot_running)
        });
        // Nothing new since the last one: nothing to ask.
        if needed.is_none() && !has_new {
            return Ok(None);
        }
        let asked_just_now = self
            .snapshot_asked
            .is_some_and(|at| at.elapsed() < SNAPSHOT_PAUSE);
        self.again_soon |= asked_just_now;
        if is_running || asked_just_now {
            return Ok(None);
        }
        let permit = Arc::clone(&self.long_work).try_acquire_owned();
        let (Some(snapshots), Ok(permit)) = (shared.snapshots(), permit) else {
            self.again_soon = true;
            return Ok(None);
        };
        self.snapshot_asked = Some(Instant::now());
        let (spooled, durable) = shared.read(|marks| (marks.spooled, marks.durable));
        let facts = SnapshotFacts {
            now_ms: unix_ms(),
            database_bytes: self.capture.database_bytes(),
            committed: number(spooled),
            spooled: number(spooled),
            durable: number(durable),
            snapshots,
            snapshot_interval_ms: millis(self.settings.life.snapshot_interval),
            budget_left: shared.spending.left(Class::Snapshot),
        };
        let is_needed = needed.is_some();
        let Some(reason) = needed.or_else(|| self.proposed_snapshot(shared, &facts)) else {
            return Ok(None);
        };
        // What is wrong with the replica is not to be copied from there.
        if !is_needed && shared.read(|marks| marks.snapshot_given_up) {
            shared.update(|marks| marks.snapshot_from_files = Some(reason));
            return Ok(None);
        }
        // Commits that came since the last file must be in one before a snapshot can follow it.
        let distrusted = shared.read(|marks| marks.distrusted);
        if distrusted.is_some() && self.capture.last() <= distrusted {
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

impl Worker {
    /// Why the policy wants a snapshot, if it does.
    fn proposed_snapshot(&self, shared: &DatabaseShared, facts: &SnapshotFacts) -> Option<String> {
        let reason = self.policy.plan_snapshot(facts)?;
        let cost = budget::of_snapshot(facts);
        shared.spending.spend(Class::Snapshot, cost);
        Some(reason)
    }
}

/// Why a snapshot must be taken whatever the policy says.
pub(super) fn needed_snapshot(marks: &Marks) -> Option<String> {
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
