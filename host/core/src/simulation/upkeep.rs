//! What is done with the files of the replica.

use super::world::World;
use crate::compaction;
use crate::decision::{Facts, Outcome};
use crate::guard::budget::{self, Class};
use crate::guard::deletions::{Review, Situation};
use crate::guard::merges::Merge;
use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::Levels;
use crate::policy::{SnapshotFacts, VerificationFacts};
use crate::restore::{self, Target};

/// Rounds of merges in one pass.
const ROUNDS_MAX: usize = 16;
/// Passes between looks at what can be deleted, and between looks at what a restore takes.
const TEN_MINUTES: u64 = 10;
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
const HOUR_MS: u128 = 3_600_000;

impl World<'_> {
    /// One pass, `elapsed_ms` after the one before.
    pub(super) fn upkeep(&mut self, elapsed_ms: u64) {
        self.passes += 1;
        if self.durable > 0 && self.outage_at(self.now_ms).is_none() {
            self.snapshot();
            self.merge();
            if self.passes.is_multiple_of(TEN_MINUTES) {
                self.report.requests.lists += 1;
                self.delete();
            }
        }
        self.measure(elapsed_ms);
    }

    fn snapshot(&mut self) {
        let snapshots: Vec<ReplicaFile> = {
            let inventory = self.inventory();
            inventory.level(lockkeeper_ltx::Level::SNAPSHOT).to_vec()
        };
        let facts = SnapshotFacts {
            now_ms: self.now_ms,
            database_bytes: self.database_bytes,
            committed: self.spooled,
            spooled: self.spooled,
            durable: self.durable,
            snapshots,
            snapshot_interval_ms: self.settings.snapshot_interval_ms,
            budget_left: self.left(Class::Snapshot),
        };
        let cost = budget::of_snapshot(&facts);
        if let Outcome::Snapshot(Some(_)) = self.decide(&Facts::Snapshot(facts)) {
            self.spend(Class::Snapshot, cost);
            self.report.snapshots += 1;
            self.stored(9, 1, self.durable, self.database_bytes / 2, self.now_ms);
        }
    }

    fn merge(&mut self) {
        let Ok(levels) = Levels::new(&self.settings.levels_ms) else {
            return;
        };
        for _ in 0..ROUNDS_MAX {
            let mut facts = compaction::facts(&self.inventory(), &levels, self.now_ms);
            facts.budget_left = self.left(Class::Merge);
            let cost = |merge: &Merge| {
                let mut levels = facts.levels.iter();
                let level = levels.find(|level| level.level == merge.level());
                level.map_or(0, |level| budget::of_merge(level, facts.now_ms, merge))
            };
            if facts
                .levels
                .iter()
                .all(|level| level.waiting.files.is_empty())
            {
                return;
            }
            match self.decide(&Facts::Compaction(facts.clone())) {
                Outcome::Compaction(merges) if !merges.is_empty() => {
                    let costs = merges.iter().map(cost).fold(0, u32::saturating_add);
                    self.spend(Class::Merge, costs);
                    merges.iter().for_each(|merge| self.merged(merge));
                }
                _ => return,
            }
        }
    }

    fn merged(&mut self, merge: &Merge) {
        let inputs = merge.inputs();
        let bytes: u64 = inputs.iter().map(|file| file.size).sum();
        let created_ms = inputs.iter().map(ReplicaFile::created_unix_ms).max();
        self.report.merges += 1;
        self.report.requests.gets += inputs.len() as u64;
        self.report.downloaded_bytes += bytes;
        let bytes = if inputs.len() > 1 {
            bytes / 10 * 7
        } else {
            bytes
        };
        let (min, max) = (merge.range().min().get(), merge.range().max().get());
        let created_ms = created_ms.unwrap_or(self.now_ms);
        self.stored(merge.level().get(), min, max, bytes, created_ms);
    }

    fn delete(&mut self) {
        let inventory = self.inventory();
        let review = Review::new(Situation {
            inventory: &inventory,
            now_ms: self.now_ms,
            window: self.settings.window,
            enabled: true,
            verification_failed: false,
        });
        let Ok(mut review) = review else { return };
        match self.decide(&Facts::Holds(review.hold_facts("app.db"))) {
            Outcome::Holds(Ok(holds)) => drop(review.hold(holds)),
            _ => return,
        }
        let facts = review.facts();
        if facts.files.iter().all(|held| held.need.is_some()) {
            return;
        }
        if let Outcome::Retention(deletions) = self.decide(&Facts::Retention(facts)) {
            if deletions.files.is_empty() {
                return;
            }
            self.report.requests.deletes += 1;
            self.report.deletions += deletions.files.len() as u64;
            self.files.retain(|file| !deletions.files.contains(file));
        }
    }

    fn measure(&mut self, elapsed_ms: u64) {
        let bytes: u64 = self.files.iter().map(|file| file.size).sum();
        let report = &mut self.report;
        report.stored_bytes_max = report.stored_bytes_max.max(bytes);
        report.stored_byte_hours += u128::from(bytes) * u128::from(elapsed_ms) / HOUR_MS;
        if self.passes.is_multiple_of(DAY) {
            report.stored_bytes.push(bytes);
        }
        if self.passes.is_multiple_of(HOUR) && self.durable > 0 {
            self.try_restore();
        }
    }

    /// What a restore would take now, and whether the policy wants a proof.
    fn try_restore(&mut self) {
        let inventory = self.inventory();
        let plan = restore::plan(inventory.files(), Target::Latest);
        let Ok(plan) = plan else {
            self.report.unrestorable += 1;
            return;
        };
        if plan.txid().get() < self.durable {
            self.report.unrestorable += 1;
        }
        let files = plan.files();
        let times = files.iter().map(|file| self.transfer_ms(file.size));
        let took_ms = times.fold(0, u64::saturating_add);
        self.report.restore_worst_ms = self.report.restore_worst_ms.max(took_ms);
        let starts = inventory.files().iter().filter(|file| file.is_start());
        let oldest = starts.map(ReplicaFile::created_unix_ms).min();
        self.report.window_ms = self.now_ms.saturating_sub(oldest.unwrap_or(self.now_ms));
        let facts = VerificationFacts {
            now_ms: self.now_ms,
            spooled: self.spooled,
            durable: self.durable,
            verified: self.verified,
            since_last_verification_ms: self.now_ms - self.last_verification,
            validation_interval_ms: self.settings.validation_interval_ms,
            budget_left: self.left(Class::Verification),
        };
        let decided = self.decide(&Facts::Verification(facts));
        if let Outcome::Verification(Some(_)) = decided {
            self.spend(Class::Verification, budget::of_verification(&facts));
            self.report.verifications += 1;
            self.report.requests.gets += files.len() as u64;
            self.report.downloaded_bytes += files.iter().map(|file| file.size).sum::<u64>();
            self.verified = self.durable;
            self.last_verification = self.now_ms;
        }
    }

    fn inventory(&self) -> Inventory {
        Inventory::new(self.files.clone())
    }
}
