//! Asks the component, and decides without it where it gives no answer.

use std::sync::Arc;

use lockkeeper_core::decision::{Clamp, Facts, Outcome, Proposal};
use lockkeeper_core::fallback;
use lockkeeper_core::guard::alerts::{Admitted, Raised};
use lockkeeper_core::guard::approval::{self, Approval};
use lockkeeper_core::guard::deletions::{Deletions, Review};
use lockkeeper_core::guard::holds::{Holds, HoldsPause};
use lockkeeper_core::guard::merges::{self, Merges};
use lockkeeper_core::guard::proposals;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, Event, HoldFacts, RestoreFacts,
    SnapshotFacts, SyncFacts, VerificationFacts,
};
use wasmtime::Store;

use super::component::Component;
use super::contract::Asked;
use super::observer::Decided;
use super::outside::Outside;
use super::question;
use super::recent::{DecisionNote, Recent};
use super::record::PolicyStats;
use super::served::{Answered, Served};
use super::stored::StoredPolicies;
use super::strikes::Decision;
use super::swap::{Deciding, Identity, Installation, Installed, Seat};
use super::trace::TraceSettings;
use crate::Result;

/// The policy of an engine, for one of its databases. Clones share the component and its record.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    seat: Arc<Seat>,
    database: Arc<str>,
    recent: Arc<Recent>,
}

/// A decision that was begun: who decides it, and what the component said.
struct Question<'a> {
    policy: &'a Policy,
    decision: Decision,
    facts: Facts,
    served: Option<Arc<Served>>,
    answer: Answered<Proposal>,
    /// Items of the answer that name nothing.
    unreadable: usize,
}

impl Policy {
    /// Asks `component`, without a trace.
    #[cfg(test)]
    pub(crate) fn new(component: Component) -> Self {
        Self::of(Seat::new(Some(component), None))
    }

    /// Asks `component`, and lets others be tried and installed. With `trace`, what is decided is
    /// recorded; with `stored`, others are taken from there.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder of the trace cannot be made.
    pub(crate) fn start(
        component: Component,
        trace: Option<&TraceSettings>,
        stored: Option<StoredPolicies>,
    ) -> Result<Self> {
        Seat::watched(component, trace, stored).map(Self::of)
    }

    /// Asks nobody: the built-in rules decide.
    #[cfg(test)]
    pub(crate) fn built_in() -> Self {
        Self::of(Seat::new(None, None))
    }

    fn of(seat: Seat) -> Self {
        Self {
            seat: Arc::new(seat),
            database: "".into(),
            recent: Arc::default(),
        }
    }

    /// The same, for the decisions about one database.
    pub(crate) fn for_database(&self, database: &str) -> Self {
        Self {
            seat: Arc::clone(&self.seat),
            database: database.into(),
            recent: Arc::default(),
        }
    }

    /// How long the commits that wait may wait on, in milliseconds; at most the sync interval.
    pub(crate) fn plan_sync(&self, facts: &SyncFacts) -> u64 {
        let question = self.ask(Decision::Sync, Facts::Sync(*facts));
        let proposal = match &question.answer {
            Answered::Proposed(Proposal::Sync(proposal)) => *proposal,
            _ => fallback::plan_sync(facts),
        };
        let guarded = proposals::sync(facts, proposal);
        let wait_ms = guarded.decision.wait_ms;
        question.conclude(&Outcome::Sync(wait_ms), one(guarded.clamp));
        wait_ms
    }

    /// Whether to copy the log back now.
    pub(crate) fn plan_checkpoint(&self, facts: &CheckpointFacts) -> CheckpointProposal {
        let question = self.ask(Decision::Checkpoint, Facts::Checkpoint(*facts));
        let proposal = match &question.answer {
            Answered::Proposed(Proposal::Checkpoint(proposal)) => *proposal,
            _ => fallback::plan_checkpoint(facts),
        };
        let guarded = proposals::checkpoint(facts, proposal);
        question.conclude(&Outcome::Checkpoint(guarded.decision), one(guarded.clamp));
        guarded.decision
    }

    /// Whether to take a snapshot now, and why.
    pub(crate) fn plan_snapshot(&self, facts: &SnapshotFacts) -> Option<String> {
        let question = self.ask(Decision::Snapshot, Facts::Snapshot(facts.clone()));
        let proposal = match &question.answer {
            Answered::Proposed(Proposal::Snapshot(reason)) => reason.as_deref(),
            _ => fallback::plan_snapshot(facts),
        };
        let guarded = proposals::snapshot(facts, proposal);
        let outcome = Outcome::Snapshot(guarded.decision.clone());
        question.conclude(&outcome, one(guarded.clamp));
        guarded.decision
    }

    /// Whether to prove the replica now, and why.
    pub(crate) fn plan_verification(&self, facts: &VerificationFacts) -> Option<String> {
        let question = self.ask(Decision::Verification, Facts::Verification(*facts));
        let proposal = match &question.answer {
            Answered::Proposed(Proposal::Verification(reason)) => reason.as_deref(),
            _ => fallback::plan_verification(facts),
        };
        let guarded = proposals::verification(facts, proposal);
        let outcome = Outcome::Verification(guarded.decision.clone());
        question.conclude(&outcome, one(guarded.clamp));
        guarded.decision
    }

    /// Which files to merge now.
    pub(crate) fn plan_compaction(&self, facts: &CompactionFacts) -> Merges {
        let question = self.ask(Decision::Compaction, Facts::Compaction(facts.clone()));
        let merges = match &question.answer {
            Answered::Proposed(Proposal::Compaction(proposals)) => merges::accept(facts, proposals),
            _ => merges::accept(facts, &fallback::plan_compaction(facts)),
        };
        let refused = merges.refused.iter();
        let mut clamps: Vec<Clamp> = refused.map(|(why, count)| (why.code(), *count)).collect();
        if question.unreadable > 0 {
            clamps.push(("unreadable-merge", question.unreadable));
        }
        question.conclude(&Outcome::Compaction(merges.accepted.clone()), clamps);
        merges
    }

    /// Which points of a replica are held.
    ///
    /// # Errors
    ///
    /// [`HoldsPause`] if that is not known, so that nothing may be deleted.
    pub(crate) fn plan_holds(&self, facts: &HoldFacts) -> std::result::Result<Holds, HoldsPause> {
        let question = self.ask(Decision::Holds, Facts::Holds(facts.clone()));
        let answer = match &question.answer {
            Answered::Proposed(Proposal::Holds(holds)) => Some(holds.clone()),
            // Without a component there is nobody who could hold anything.
            _ if question.served.is_none() => Some(Vec::new()),
            _ => None,
        };
        let holds = Holds::accept(answer);
        let pause = holds.as_ref().err().map(|pause| (pause.code(), 1));
        question.conclude(&Outcome::Holds(holds.clone()), pause.into_iter().collect());
        holds
    }

    /// Which files of a replica to delete now.
    pub(crate) fn plan_retention(&self, review: &Review<'_>) -> Deletions {
        let facts = review.facts();
        let question = self.ask(Decision::Retention, Facts::Retention(facts.clone()));
        let deletions = match &question.answer {
            Answered::Proposed(Proposal::Retention(Some(keeps))) => review.decide(keeps),
            Answered::Proposed(Proposal::Retention(None)) => {
                let clamps = vec![("unreadable-keep", question.unreadable)];
                question.conclude(&Outcome::Retention(Deletions::default()), clamps);
                return Deletions::default();
            }
            _ => review.decide(&fallback::plan_retention(&facts)),
        };
        let refused = deletions.refused.iter();
        let clamps = refused.map(|(need, count)| (need.code(), *count)).collect();
        question.conclude(&Outcome::Retention(deletions.clone()), clamps);
        deletions
    }

    /// Whether the data of a replica may take the place of something else; else why not.
    pub(crate) fn approve_restore(&self, facts: &RestoreFacts) -> Approval {
        let question = self.ask(Decision::Restore, Facts::Restore(facts.clone()));
        let answer = match &question.answer {
            Answered::Proposed(Proposal::Restore(answer)) => answer.clone(),
            _ => Ok(()),
        };
        let guarded = approval::approval(facts, answer);
        let outcome = Outcome::Restore(guarded.decision.clone());
        question.conclude(&outcome, one(guarded.clamp));
        guarded.decision
    }

    /// What to tell people of an event: what `admit`, which remembers what they were told, lets
    /// through.
    pub(crate) fn on_event(
        &self,
        event: &Event,
        admit: impl FnOnce(Vec<Alert>) -> Admitted,
    ) -> Vec<Raised> {
        let question = self.ask(Decision::Event, Facts::Event(event.clone()));
        let alerts = match &question.answer {
            Answered::Proposed(Proposal::Event(alerts)) => alerts.clone(),
            _ => fallback::on_event(event),
        };
        let Admitted { raised, refused } = admit(alerts);
        let clamps = refused.iter().map(|why| (why.code(), 1)).collect();
        question.conclude(&Outcome::Event(raised.clone()), clamps);
        raised
    }

    /// How the component has served.
    pub(crate) fn stats(&self) -> PolicyStats {
        let current = self.seat.current();
        current
            .map(|served| served.record.stats())
            .unwrap_or_default()
    }

    /// Who decides.
    pub(crate) fn deciding(&self) -> Deciding {
        self.seat.deciding()
    }

    /// The last decisions about this database, oldest first.
    pub(crate) fn recent(&self) -> Vec<DecisionNote> {
        self.recent.notes()
    }

    /// See [`Seat::install`].
    pub(crate) async fn install(&self, wanted: Installation) -> Result<Installed> {
        self.seat.install(wanted).await
    }

    /// See [`Seat::reload`].
    pub(crate) async fn reload(&self) -> Result<Option<Installed>> {
        Arc::clone(&self.seat).reload().await
    }

    /// See [`Seat::follow_store`].
    pub(crate) async fn follow_store(&self) {
        Arc::clone(&self.seat).follow_store().await;
    }

    /// See [`Seat::roll_back`].
    pub(crate) fn roll_back(&self) -> Result<Identity> {
        self.seat.roll_back()
    }

    /// See [`Seat::refuse`].
    pub(crate) fn refuse(&self, why: String) {
        self.seat.refuse(why);
    }

    fn ask(&self, decision: Decision, facts: Facts) -> Question<'_> {
        let served = self.seat.current();
        let call =
            |asked: &dyn Asked, store: &mut Store<Outside>| question::call(asked, store, &facts);
        let answer = match &served {
            Some(served) => served.ask(decision, call),
            None => Answered::NotAsked,
        };
        let (answer, unreadable) = match answer {
            Answered::Proposed(read) => (Answered::Proposed(read.proposal), read.unreadable),
            Answered::Failed(why) => (Answered::Failed(why), 0),
            Answered::NotAsked => (Answered::NotAsked, 0),
        };
        Question {
            policy: self,
            decision,
            facts,
            served,
            answer,
            unreadable,
        }
    }
}

impl Question<'_> {
    /// Counts what the guard changed, and tells of the decision.
    fn conclude(self, outcome: &Outcome, clamps: Vec<Clamp>) {
        let Self {
            policy,
            decision,
            facts,
            served,
            answer,
            ..
        } = self;
        if let Some(served) = &served {
            for (code, count) in &clamps {
                served.record.refused(decision, code, *count);
            }
        }
        let is_answered = matches!(answer, Answered::Proposed(_));
        let answering = served.as_ref().filter(|_| is_answered);
        let outcome = outcome.to_string();
        policy.recent.note(DecisionNote {
            decision: decision.name(),
            outcome: outcome.clone(),
            clamps: clamps.iter().map(|(code, _)| *code).collect(),
            by: answering.map(|served| served.component.name().to_owned()),
            at_ms: facts.now_ms(),
            times: 1,
        });
        policy.seat.observe(|| Decided {
            at_ms: facts.now_ms(),
            database: Arc::clone(&policy.database),
            digest: served.map_or_else(|| "".into(), |served| Arc::clone(&served.digest)),
            facts,
            answer,
            clamps,
            outcome,
        });
    }
}

fn one(clamp: Option<proposals::Clamp>) -> Vec<Clamp> {
    clamp.map(|clamp| (clamp.code(), 1)).into_iter().collect()
}
