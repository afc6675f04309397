//! Asks the component, and decides without it where it gives no answer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use lockkeeper_core::fallback;
use lockkeeper_core::guard::approval::{self, Approval};
use lockkeeper_core::guard::deletions::{Deletions, Review};
use lockkeeper_core::guard::holds::{Holds, HoldsPause};
use lockkeeper_core::guard::merges::{self, Merges};
use lockkeeper_core::guard::proposals::{self, Guarded};
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, Event, HoldFacts, RestoreFacts,
    SnapshotFacts, SyncFacts, VerificationFacts,
};
use wasmtime::Store;

use super::component::Component;
use super::contract::{Asked, Readable};
use super::outside::Outside;
use super::record::{PolicyStats, Record};
use super::sandbox::DECISION;
use super::strikes::Decision;

/// The policy of an engine. Clones share the component and its record.
#[derive(Clone)]
pub(crate) struct Policy(Option<Arc<Served>>);

/// A component and how it has served.
struct Served {
    component: Component,
    record: Record,
}

impl Policy {
    /// Asks `component`.
    pub(crate) fn new(component: Component) -> Self {
        let record = Record::new(component.name().to_owned());
        Self(Some(Arc::new(Served { component, record })))
    }

    /// Asks nobody: the built-in rules decide.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        Self(None)
    }

    /// How long the commits that wait may wait on, in milliseconds; at most the sync interval.
    pub(crate) fn plan_sync(&self, facts: &SyncFacts) -> u64 {
        let proposal = self
            .ask(Decision::Sync, |asked, store| asked.plan_sync(store, facts))
            .unwrap_or_else(|| fallback::plan_sync(facts));
        let guarded = proposals::sync(facts, proposal);
        self.decided(Decision::Sync, guarded).wait_ms
    }

    /// Whether to copy the log back now.
    pub(crate) fn plan_checkpoint(&self, facts: &CheckpointFacts) -> CheckpointProposal {
        let proposal = self
            .ask(Decision::Checkpoint, |asked, store| {
                asked.plan_checkpoint(store, facts)
            })
            .unwrap_or_else(|| fallback::plan_checkpoint(facts));
        let guarded = proposals::checkpoint(facts, proposal);
        self.decided(Decision::Checkpoint, guarded)
    }

    /// Whether to take a snapshot now, and why.
    pub(crate) fn plan_snapshot(&self, facts: &SnapshotFacts) -> Option<String> {
        let proposal = self
            .ask(Decision::Snapshot, |asked, store| {
                asked.plan_snapshot(store, facts)
            })
            .unwrap_or_else(|| fallback::plan_snapshot(facts).map(str::to_owned));
        let guarded = proposals::snapshot(facts, proposal.as_deref());
        self.decided(Decision::Snapshot, guarded)
    }

    /// Whether to prove the replica now, and why.
    pub(crate) fn plan_verification(&self, facts: &VerificationFacts) -> Option<String> {
        let proposal = self
            .ask(Decision::Verification, |asked, store| {
                asked.plan_verification(store, facts)
            })
            .unwrap_or_else(|| fallback::plan_verification(facts).map(str::to_owned));
        let guarded = proposals::verification(facts, proposal.as_deref());
        self.decided(Decision::Verification, guarded)
    }

    /// Which files to merge now.
    pub(crate) fn plan_compaction(&self, facts: &CompactionFacts) -> Merges {
        let answer = self.ask(Decision::Compaction, |asked, store| {
            asked.plan_compaction(store, facts)
        });
        let proposals = answer.map_or_else(
            || fallback::plan_compaction(facts),
            |Readable { items, unreadable }| {
                self.refused(Decision::Compaction, "unreadable-merge", unreadable);
                items
            },
        );
        let merges = merges::accept(facts, &proposals);
        for (refusal, count) in &merges.refused {
            self.refused(Decision::Compaction, refusal.code(), *count);
        }
        merges
    }

    /// Which points of a replica are held.
    ///
    /// # Errors
    ///
    /// [`HoldsPause`] if that is not known, so that nothing may be deleted.
    pub(crate) fn plan_holds(&self, facts: &HoldFacts) -> Result<Holds, HoldsPause> {
        let answer = match &self.0 {
            Some(_) => self.ask(Decision::Holds, |asked, store| {
                asked.plan_holds(store, facts)
            }),
            None => Some(Vec::new()),
        };
        Holds::accept(answer).inspect_err(|pause| self.refused(Decision::Holds, pause.code(), 1))
    }

    /// Which files of a replica to delete now.
    pub(crate) fn plan_retention(&self, review: &Review<'_>) -> Deletions {
        let facts = review.facts();
        let answer = self.ask(Decision::Retention, |asked, store| {
            asked.plan_retention(store, &facts)
        });
        let keeps = match answer {
            // What cannot be read may be what is to be kept.
            Some(Readable { unreadable, .. }) if unreadable > 0 => {
                self.refused(Decision::Retention, "unreadable-keep", unreadable);
                return Deletions::default();
            }
            Some(Readable { items, .. }) => items,
            None => fallback::plan_retention(&facts),
        };
        let deletions = review.decide(&keeps);
        for (need, count) in &deletions.refused {
            self.refused(Decision::Retention, need.code(), *count);
        }
        deletions
    }

    /// Whether the data of a replica may take the place of something else; else why not.
    pub(crate) fn approve_restore(&self, facts: &RestoreFacts) -> Approval {
        let answer = self
            .ask(Decision::Restore, |asked, store| {
                asked.approve_restore(store, facts)
            })
            .unwrap_or(Ok(()));
        self.decided(Decision::Restore, approval::approval(facts, answer))
    }

    /// What to tell people of an event.
    pub(crate) fn on_event(&self, event: &Event) -> Vec<Alert> {
        self.ask(Decision::Event, |asked, store| asked.on_event(store, event))
            .unwrap_or_else(|| fallback::on_event(event))
    }

    /// Counts an alert that the guard did not let through, or changed.
    pub(crate) fn alert_refused(&self, reason: &'static str) {
        self.refused(Decision::Event, reason, 1);
    }

    /// How the component has served.
    pub(crate) fn stats(&self) -> PolicyStats {
        let served = self.0.as_ref();
        served.map_or_else(PolicyStats::default, |served| served.record.stats())
    }

    /// The component's answer, if there is a component, it may be asked, and it answers.
    fn ask<T>(
        &self,
        decision: Decision,
        call: impl FnOnce(&dyn Asked, &mut Store<Outside>) -> wasmtime::Result<T>,
    ) -> Option<T> {
        let served = self.0.as_ref()?;
        if !served.record.may_ask() {
            return None;
        }
        let started = Instant::now();
        let (answer, usage) = served.component.decide(DECISION, call);
        served.record.took(decision, started.elapsed());
        tracing::trace!(
            decision = decision.name(),
            fuel = usage.fuel,
            memory_bytes = usage.memory_bytes,
            "asked the policy"
        );
        match answer {
            Ok(answer) => {
                served.record.answered(decision);
                Some(answer)
            }
            Err(why) => {
                served.record.failed(decision, &why);
                None
            }
        }
    }

    fn decided<T>(&self, decision: Decision, guarded: Guarded<T>) -> T {
        if let Some(clamp) = guarded.clamp {
            self.refused(decision, clamp.code(), 1);
        }
        guarded.decision
    }

    fn refused(&self, decision: Decision, reason: &'static str, count: usize) {
        if let Some(served) = &self.0 {
            served.record.refused(decision, reason, count);
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(served) => f.debug_tuple("Policy").field(&served.component).finish(),
            None => f.write_str("Policy(built in)"),
        }
    }
}
