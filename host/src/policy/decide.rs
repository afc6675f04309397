//! Asks the component, and decides without it where it gives no answer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockkeeper_core::fallback;
use lockkeeper_core::guard::deletions::{Deletions, Review};
use lockkeeper_core::guard::merges::{self, Merge, Merges};
use lockkeeper_core::guard::proposals::{self, Guarded};
use lockkeeper_core::policy::{
    CheckpointFacts, CheckpointProposal, CompactionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};
use wasmtime::Store;

use super::component::Component;
use super::convert;
use super::failure::Failure;
use super::outside::Outside;
use super::rate::RateLimit;
use super::sandbox::DECISION;
use super::strikes::{Decision, SET_ASIDE, Strikes};
use super::world::Exports;

/// Lines about failures and about clamped proposals, each, in a [`WINDOW`]: one for each kind of
/// decision.
const LINES_MAX: u32 = Decision::COUNT as u32;
const WINDOW: Duration = Duration::from_secs(60);

/// The policy of an engine. Clones share the component and its record.
#[derive(Clone)]
pub(crate) struct Policy(Option<Arc<Asked>>);

/// How a component has served; all zero where there is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyStats {
    /// Decisions the component was asked for.
    pub calls: u64,
    /// Calls without an answer; the built-in rules decided.
    pub failures: u64,
    /// Proposals that the guard changed.
    pub clamps: u64,
    /// Whether it is not asked for now, because it failed several times in a row.
    pub set_aside: bool,
}

struct Asked {
    component: Component,
    strikes: Mutex<Strikes>,
    calls: AtomicU64,
    failures: AtomicU64,
    clamps: AtomicU64,
    failure_lines: RateLimit,
    clamp_lines: RateLimit,
}

impl Policy {
    /// Asks `component`.
    pub(crate) fn new(component: Component) -> Self {
        Self(Some(Arc::new(Asked {
            component,
            strikes: Mutex::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            clamps: AtomicU64::new(0),
            failure_lines: RateLimit::new(LINES_MAX, WINDOW),
            clamp_lines: RateLimit::new(LINES_MAX, WINDOW),
        })))
    }

    /// Asks nobody: the built-in rules decide.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        Self(None)
    }

    /// How long the commits that wait may wait on, in milliseconds; at most the sync interval.
    pub(crate) fn plan_sync(&self, facts: &SyncFacts) -> u64 {
        let proposal = self
            .ask(Decision::Sync, |store, exports| {
                exports.call_plan_sync(store, convert::sync_facts(facts))
            })
            .map_or_else(
                || fallback::plan_sync(facts),
                |proposal| SyncProposal {
                    wait_ms: proposal.wait,
                },
            );
        let guarded = proposals::sync(facts, proposal);
        self.decided(Decision::Sync, guarded).wait_ms
    }

    /// Whether to copy the log back now.
    pub(crate) fn plan_checkpoint(&self, facts: &CheckpointFacts) -> CheckpointProposal {
        let proposal = self
            .ask(Decision::Checkpoint, |store, exports| {
                exports.call_plan_checkpoint(store, convert::checkpoint_facts(facts))
            })
            .map_or_else(
                || fallback::plan_checkpoint(facts),
                convert::checkpoint_proposal,
            );
        let guarded = proposals::checkpoint(facts, proposal);
        self.decided(Decision::Checkpoint, guarded)
    }

    /// Whether to take a snapshot now, and why.
    pub(crate) fn plan_snapshot(&self, facts: &SnapshotFacts) -> Option<String> {
        let inventory = convert::inventory(facts);
        let proposal = self
            .ask(Decision::Snapshot, |store, exports| {
                exports.call_plan_snapshot(store, &inventory)
            })
            .unwrap_or_else(|| fallback::plan_snapshot(facts).map(str::to_owned));
        let guarded = proposals::snapshot(facts, proposal.as_deref());
        self.decided(Decision::Snapshot, guarded)
    }

    /// Whether to prove the replica now, and why.
    pub(crate) fn plan_verification(&self, facts: &VerificationFacts) -> Option<String> {
        let proposal = self
            .ask(Decision::Verification, |store, exports| {
                exports.call_plan_verification(store, convert::verification_facts(facts))
            })
            .unwrap_or_else(|| fallback::plan_verification(facts).map(str::to_owned));
        let guarded = proposals::verification(facts, proposal.as_deref());
        self.decided(Decision::Verification, guarded)
    }

    /// Which files to merge now.
    pub(crate) fn plan_compaction(&self, facts: &CompactionFacts) -> Vec<Merge> {
        let proposals = self
            .ask(Decision::Compaction, |store, exports| {
                exports.call_plan_compaction(store, &convert::compaction_facts(facts))
            })
            .map_or_else(
                || fallback::plan_compaction(facts),
                convert::compaction_proposals,
            );
        let Merges { accepted, refused } = merges::accept(facts, &proposals);
        for (refusal, count) in refused {
            self.clamped(Decision::Compaction, count, &refusal.code());
        }
        accepted
    }

    /// Which files of a replica to delete now.
    pub(crate) fn plan_retention(&self, review: &Review<'_>) -> Deletions {
        let facts = review.facts();
        let answer = self.ask(Decision::Retention, |store, exports| {
            exports.call_plan_retention(store, &convert::retention_facts(&facts))
        });
        let keeps = match answer.map(convert::keeps) {
            Some(Some(keeps)) => keeps,
            Some(None) => {
                self.clamped(Decision::Retention, 1, &"unreadable-keep");
                return Deletions::default();
            }
            None => fallback::plan_retention(&facts),
        };
        let deletions = review.decide(&keeps);
        for (need, count) in &deletions.refused {
            self.clamped(Decision::Retention, *count, &need.code());
        }
        deletions
    }

    /// How the component has served.
    pub(crate) fn stats(&self) -> PolicyStats {
        let Some(asked) = &self.0 else {
            return PolicyStats::default();
        };
        PolicyStats {
            calls: asked.calls.load(Ordering::Relaxed),
            failures: asked.failures.load(Ordering::Relaxed),
            clamps: asked.clamps.load(Ordering::Relaxed),
            set_aside: asked.strikes().is_set_aside(),
        }
    }

    /// The component's answer, if there is a component, it may be asked, and it answers.
    fn ask<T>(
        &self,
        decision: Decision,
        call: impl FnOnce(&mut Store<Outside>, &Exports) -> wasmtime::Result<T>,
    ) -> Option<T> {
        let asked = self.0.as_ref()?;
        if !asked.strikes().may_ask(Instant::now()) {
            return None;
        }
        asked.calls.fetch_add(1, Ordering::Relaxed);
        let (answer, usage) = asked.component.decide(DECISION, call);
        tracing::trace!(
            decision = decision.name(),
            fuel = usage.fuel,
            memory_bytes = usage.memory_bytes,
            "asked the policy"
        );
        match answer {
            Ok(answer) => {
                asked.answered(decision);
                Some(answer)
            }
            Err(why) => {
                asked.failed(decision, &why);
                None
            }
        }
    }

    fn decided<T>(&self, decision: Decision, guarded: Guarded<T>) -> T {
        if let Some(clamp) = guarded.clamp {
            self.clamped(decision, 1, &clamp);
        }
        guarded.decision
    }

    /// Counts, and now and then reports, what the guard did not let through.
    fn clamped(&self, decision: Decision, count: usize, reason: &dyn fmt::Display) {
        let Some(asked) = &self.0 else { return };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        asked.clamps.fetch_add(count, Ordering::Relaxed);
        if let Some(suppressed) = asked.clamp_lines.admit(Instant::now()) {
            let decision = decision.name();
            tracing::warn!(policy = %asked.component.name(), decision, %reason, suppressed, "a proposal was changed");
        }
    }
}

impl Asked {
    fn strikes(&self) -> MutexGuard<'_, Strikes> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, decision: Decision) {
        if self.strikes().answered(decision) {
            tracing::info!(policy = %self.component.name(), "the policy answers again");
        }
    }

    fn failed(&self, decision: Decision, why: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let (policy, decision_name) = (self.component.name(), decision.name());
        if let Some(suppressed) = self.failure_lines.admit(now) {
            tracing::warn!(%policy, decision = decision_name, suppressed, reason = %why, "the policy gave no answer; the built-in rules decide");
        }
        if self.strikes().failed(decision, now) {
            tracing::error!(%policy, decision = decision_name, reason = %why, seconds = SET_ASIDE.as_secs(), "the policy is set aside; the built-in rules decide");
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(asked) => f.debug_tuple("Policy").field(&asked.component).finish(),
            None => f.write_str("Policy(built in)"),
        }
    }
}
