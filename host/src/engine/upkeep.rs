//! What keeps a replica small and quick to restore: merging files into levels, and deleting what
//! nobody can want any more. The policy proposes, the guard of `lockkeeper_core` decides.

use std::sync::Arc;
use std::time::Duration;

use lockkeeper_core::compaction;
use lockkeeper_core::guard::budget::Class;
use lockkeeper_core::guard::deletions::{Deletions, Pause, Review, Situation};
use lockkeeper_core::guard::merges::Merge;
use lockkeeper_core::inventory::{Inventory, ReplicaFile};
use lockkeeper_core::levels::Levels;
use lockkeeper_core::live_set::Window;
use lockkeeper_core::losses;
use lockkeeper_core::waiting::Gap;
use lockkeeper_ltx::{Level, PageEncoding};
use tokio::sync::Semaphore;

use super::database::blocking;
use super::merge::{self, Merged};
use super::ownership::Ownership;
use super::resend;
use super::shared::DatabaseShared;
use super::status::HeldPoint;
use crate::policy::Policy;
use crate::settings::LifeSettings;
use crate::spool::Spool;
use crate::store::Replica;
use crate::{Error, ErrorKind, Result, clock};

/// While nothing changes there is less and less to look for.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Passes after which a replica that is written to is listed again: somebody else may have deleted
/// from it. Ten minutes with the default `l0-retention-check-interval`.
const LIST_EVERY: u32 = 40;
/// Rounds of merges in one pass; each round takes one level. What is left waits for the next pass.
const ROUNDS_MAX: usize = 16;

/// The upkeep of one replica.
pub(super) struct Upkeep<'a> {
    pub(super) replica: &'a Replica,
    pub(super) ownership: &'a Ownership,
    pub(super) shared: &'a DatabaseShared,
    pub(super) spool: Arc<Spool>,
    pub(super) policy: &'a Policy,
    pub(super) life: &'a LifeSettings,
    pub(super) encoding: PageEncoding,
    pub(super) long_work: Arc<Semaphore>,
}

/// What one pass did.
struct Done {
    merged: bool,
    deleted: usize,
}

impl Upkeep<'_> {
    /// Works for as long as it is polled. A failed pass is tried again: what is left undone costs
    /// space, never a transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Fenced`] if another writer owns the replica.
    pub(super) async fn run(&self) -> Result<()> {
        let tick = self.life.l0_retention_check;
        let mut pause = tick;
        let mut seen = self.shared.catalogue_version();
        let mut passes: u32 = 0;
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(pause) => None,
                asked = self.shared.upkeep_requests.asked() => Some(asked),
            };
            passes = passes.wrapping_add(1);
            // Not while nothing changes: an idle database makes no request.
            if passes.is_multiple_of(LIST_EVERY) && self.shared.catalogue_version() != seen {
                self.shared.forget_catalogue();
            }
            let passed = self.pass().await;
            if let Some(asked) = asked {
                self.shared.upkeep_requests.done(asked);
                self.shared
                    .upkeep_ended(passed.as_ref().map(|it| it.deleted).ok());
            }
            let did_something = match passed {
                Ok(Done { merged, deleted }) => merged || deleted > 0,
                Err(error) if error.kind() == ErrorKind::Fenced => return Err(error),
                Err(error) => {
                    tracing::warn!(replica = %self.replica, %error, "upkeep failed; it is tried again");
                    // The replica may hold something other than what we think.
                    self.shared.forget_catalogue();
                    true
                }
            };
            let now = self.shared.catalogue_version();
            let is_idle = !did_something && now == seen;
            seen = now;
            pause = if is_idle {
                pause.saturating_mul(2).min(IDLE_MAX.max(tick))
            } else {
                tick
            };
        }
    }

    /// Merges and deletes what is due.
    async fn pass(&self) -> Result<Done> {
        self.make_good().await?;
        self.snapshot_from_files().await?;
        let merged = self.merge_levels().await?;
        let deleted = self.delete().await?;
        self.prune_local().await?;
        Ok(Done { merged, deleted })
    }

    /// Sends again what the replica has lost, and asks for a snapshot where that is not enough.
    async fn make_good(&self) -> Result<()> {
        // Read first: a file is in the catalogue before it counts as durable.
        let Some(durable) = self.shared.read(|marks| marks.durable) else {
            return Ok(());
        };
        let lost = losses::lost(&self.inventory().await?, durable);
        if !lost.is_empty() {
            for file in resend::run(self.replica, &self.spool, &lost).await? {
                self.shared.added(file);
            }
        }
        let inventory = self.inventory().await?;
        let gone = losses::lost(&inventory, durable).last().copied();
        let gone = gone.filter(|_| !losses::is_restorable(&inventory, durable));
        if gone != self.shared.read(|marks| marks.lost) {
            if let Some(lost) = gone {
                tracing::error!(
                    replica = %self.replica, %lost,
                    "the replica has lost transactions that are not on the local disk any more; \
                     a new snapshot is made to lead past them"
                );
            }
            self.shared.demand(|marks| marks.lost = gone);
        }
        Ok(())
    }

    async fn inventory(&self) -> Result<Inventory> {
        if let Some(files) = self.shared.catalogue() {
            return Ok(Inventory::new(files));
        }
        let files = self.replica.list_all().await?;
        self.shared.listed(files.clone());
        Ok(Inventory::new(files))
    }

    /// Makes the snapshot that could not be read from the database for as long as its store took.
    async fn snapshot_from_files(&self) -> Result<()> {
        let Some(reason) = self.shared.read(|marks| marks.snapshot_from_files.clone()) else {
            return Ok(());
        };
        if let Some(merge) = Merge::snapshot(&self.inventory().await?) {
            tracing::info!(
                replica = %self.replica, txid = %merge.range().max(), %reason,
                "snapshot from files of the replica"
            );
            self.merge(&merge).await?;
        }
        self.shared.update(|marks| {
            marks.snapshot_from_files = None;
            marks.snapshot_given_up = false;
        });
        Ok(())
    }

    async fn merge_levels(&self) -> Result<bool> {
        let intervals: Vec<u64> = self.life.levels.iter().map(millis).collect();
        let levels = Levels::new(&intervals).map_err(|error| {
            Error::invalid("the compaction levels cannot be used").with_source(error)
        })?;
        let mut did_something = false;
        for _ in 0..ROUNDS_MAX {
            let mut facts = compaction::facts(&self.inventory().await?, &levels, now_ms());
            facts.budget_left = self.shared.spending.left(Class::Merge);
            self.tell_gap(facts.levels.iter().find_map(|level| level.waiting.gap));
            // Nothing waits: nothing to ask.
            if facts
                .levels
                .iter()
                .all(|level| level.waiting.files.is_empty())
            {
                break;
            }
            let policy = self.policy.clone();
            let merges = blocking(move || Ok(policy.plan_compaction(&facts))).await?;
            self.shared.spending.spend(Class::Merge, merges.cost);
            let merges = merges.accepted;
            if merges.is_empty() {
                break;
            }
            self.ownership.check_if_old().await?;
            for merge in &merges {
                self.merge(merge).await?;
                did_something = true;
            }
        }
        Ok(did_something)
    }

    async fn merge(&self, merge: &Merge) -> Result<()> {
        let permit = self.long_work.acquire().await;
        let _permit =
            permit.map_err(|error| Error::internal("the engine ended").with_source(error))?;
        let mut merge = merge.clone();
        let file = loop {
            match merge::run(self.replica, &self.spool, &merge, self.encoding).await? {
                Merged::Done(file) => break file,
                Merged::Cut(count) => {
                    let before = merge.first(count);
                    merge = before
                        .ok_or_else(|| Error::internal("a merge was cut before its first file"))?;
                }
            }
        };
        tracing::debug!(
            replica = %self.replica, level = %file.level, name = %file.name, bytes = file.size,
            inputs = merge.inputs().len(), "merged"
        );
        self.shared.added(file);
        Ok(())
    }

    /// Returns how many files were deleted.
    async fn delete(&self) -> Result<usize> {
        let inventory = self.inventory().await?;
        let (is_empty, name, policy) = (
            inventory.files().is_empty(),
            self.shared.name(),
            self.policy.clone(),
        );
        let situation = (now_ms(), self.window(), self.life.retention);
        let verification_failed = self
            .shared
            .read(|marks| marks.verification_failed.is_some());
        let decided = blocking(move || {
            let (now_ms, window, enabled) = situation;
            let situation = Situation {
                inventory: &inventory,
                now_ms,
                window,
                enabled,
                verification_failed,
            };
            Ok(decide(&policy, situation, &name))
        });
        let (held, deletions) = match decided.await? {
            Ok(decided) => decided,
            Err(pause) => {
                self.paused(&pause, is_empty);
                return Ok(0);
            }
        };
        self.shared.update(|marks| {
            marks.deletion_paused = None;
            marks.held = held;
        });
        if !deletions.files.is_empty() {
            self.ownership.check_if_old().await?;
        }
        self.replica.delete_all(&deletions.files).await?;
        for file in &deletions.files {
            tracing::debug!(replica = %self.replica, level = %file.level, name = %file.name, "deleted");
        }
        self.shared.removed(&deletions.files);
        Ok(deletions.files.len())
    }

    /// Says once that a level cannot be merged further.
    fn tell_gap(&self, gap: Option<Gap>) {
        if let Some(gap) = gap.filter(|_| gap != self.shared.read(|marks| marks.gap)) {
            tracing::warn!(replica = %self.replica, %gap, "cannot merge further");
        }
        self.shared.update(|marks| marks.gap = gap);
    }

    /// Says once why nothing is deleted. That retention is off was decided, and a replica without a
    /// whole chain yet is young, not damaged.
    fn paused(&self, pause: &Pause, is_empty: bool) {
        let is_expected =
            matches!(pause, Pause::Disabled) || is_empty && matches!(pause, Pause::Unrestorable(_));
        let why = (!is_expected).then(|| pause.to_string());
        let is_known = self.shared.read(|marks| marks.deletion_paused.is_some());
        // The numbers in it change; what is wrong is the same.
        if why.is_some() && !is_known {
            tracing::warn!(replica = %self.replica, code = pause.code(), %pause, "nothing is deleted");
        }
        self.shared.update(|marks| marks.deletion_paused = why);
    }

    /// Local copies go when the replica has them in level 1, they are no longer young, and the page
    /// hashes do not need them. The newest stays: it says where to go on.
    async fn prune_local(&self) -> Result<()> {
        let inventory = self.inventory().await?;
        let Some(merged) = Level::new(1).and_then(|level| inventory.newest(level)) else {
            return Ok(());
        };
        let (merged, window, now_ms) = (merged.range().max(), self.window(), now_ms());
        let needs_from = self.shared.read(|marks| marks.needs_from);
        let spool = Arc::clone(&self.spool);
        blocking(move || {
            let mut names = spool.names()?;
            names.pop();
            for name in names
                .into_iter()
                .filter(|name| name.range().max() <= merged)
                .filter(|name| needs_from.is_none_or(|needed| name.range().max() < needed))
            {
                let file = ReplicaFile {
                    level: Level::L0,
                    name,
                    size: 0,
                    created_ms: spool.header(name)?.timestamp_ms,
                };
                if window.is_young(&file, now_ms) {
                    break;
                }
                spool.remove(name)?;
            }
            Ok(())
        })
        .await
    }

    fn window(&self) -> Window {
        Window {
            snapshot_retention_ms: millis(&self.life.snapshot_retention),
            l0_retention_ms: millis(&self.life.l0_retention),
        }
    }
}

/// What is held, and what is to be deleted. Blocks.
fn decide(
    policy: &Policy,
    situation: Situation<'_>,
    database: &str,
) -> std::result::Result<(Vec<HeldPoint>, Deletions), Pause> {
    let mut review = Review::new(situation)?;
    let holds = policy.plan_holds(&review.hold_facts(database))?;
    let held = review.hold(holds).into_iter().map(HeldPoint::from);
    let held = held.collect();
    // Everything is needed: nothing to ask.
    if review.facts().files.iter().all(|held| held.need.is_some()) {
        return Ok((held, Deletions::default()));
    }
    Ok((held, policy.plan_retention(&review)))
}

fn millis(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    u64::try_from(clock::now_ms()).unwrap_or(0)
}
