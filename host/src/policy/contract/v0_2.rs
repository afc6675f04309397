//! Version 0.2.0 of the contract: `wit/policy.wit`.

use std::collections::HashMap;
use std::result;

use lockkeeper_core::guard::approval::Approval;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Hold,
    HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, HasSelf, Instance, InstancePre, Lift, Linker, Lower,
};
use wasmtime::{Result, Store, format_err};

use super::{Asked, Description, Readable, convert};
use crate::policy::outside::Outside;
use crate::policy::plan::{Diagnostic, Plan};

#[allow(
    unreachable_pub,
    reason = "the macro writes items for use outside the crate"
)]
mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "policy" });
}

pub(in crate::policy) use bindings::PolicyImports;
pub(in crate::policy) use bindings::lockkeeper::policy::types;
use bindings::{Policy, PolicyIndices};

/// The functions that a policy must export.
pub(super) const EXPORTS: [&str; 11] = [
    "metadata",
    "validate",
    "plan-sync",
    "plan-checkpoint",
    "plan-snapshot",
    "plan-verification",
    "plan-compaction",
    "plan-retention",
    "plan-holds",
    "approve-restore",
    "on-event",
];

pub(super) fn link(linker: &mut Linker<Outside>) -> Result<()> {
    Policy::add_to_linker::<_, HasSelf<Outside>>(linker, |outside| outside)
}

/// A compiled component of this version.
pub(in crate::policy) struct Compiled {
    instance: InstancePre<Outside>,
    functions: HashMap<&'static str, ComponentExportIndex>,
    /// All functions with their types.
    whole: PolicyIndices,
}

impl Compiled {
    pub(super) fn new(instance: InstancePre<Outside>) -> Result<Self> {
        let function = |name| {
            let index = instance.component().get_export_index(None, name);
            let index = index.ok_or_else(|| format_err!("it exports no `{name}`"))?;
            Ok((name, index))
        };
        Ok(Self {
            functions: EXPORTS.into_iter().map(function).collect::<Result<_>>()?,
            whole: PolicyIndices::new(&instance)?,
            instance,
        })
    }

    pub(super) fn instantiate(&self, store: &mut Store<Outside>) -> Result<Questioned<'_>> {
        Ok(Questioned {
            compiled: self,
            instance: self.instance.instantiate(store)?,
        })
    }
}

/// An instance, to be asked one question. The generated bindings look up every function and compare
/// its type with each instance, which takes longer than to answer.
pub(super) struct Questioned<'a> {
    compiled: &'a Compiled,
    instance: Instance,
}

impl Questioned<'_> {
    fn ask<Q, A>(&self, store: &mut Store<Outside>, name: &str, question: Q) -> Result<A>
    where
        Q: ComponentNamedList + Lower,
        (A,): ComponentNamedList + Lift,
    {
        let function = self.compiled.functions.get(name);
        let function = function.ok_or_else(|| format_err!("the contract has no `{name}`"))?;
        let function = self
            .instance
            .get_typed_func::<Q, (A,)>(&mut *store, function)?;
        let (answer,) = function.call(store, question)?;
        Ok(answer)
    }
}

impl Asked for Questioned<'_> {
    fn metadata(&self, store: &mut Store<Outside>) -> Result<Description> {
        // The first question of all: a function of another type is found now, not when it is asked.
        self.compiled.whole.load(&mut *store, &self.instance)?;
        let from: types::Description = self.ask(store, "metadata", ())?;
        Ok(Description {
            name: from.name,
            version: from.version,
            summary: from.summary,
            needs: from.needs,
        })
    }

    fn validate(
        &self,
        store: &mut Store<Outside>,
        source: &str,
        replica_kinds: &[&str],
    ) -> Result<result::Result<Plan, Vec<Diagnostic>>> {
        let context = convert::context(replica_kinds);
        let answer: result::Result<types::Plan, Vec<types::Diagnostic>> =
            self.ask(store, "validate", (source, &context))?;
        Ok(answer.map(convert::plan).map_err(convert::diagnostics))
    }

    fn plan_sync(&self, store: &mut Store<Outside>, facts: &SyncFacts) -> Result<SyncProposal> {
        let facts = convert::sync_facts(facts);
        let proposal: types::SyncProposal = self.ask(store, "plan-sync", (facts,))?;
        Ok(SyncProposal {
            wait_ms: proposal.wait,
        })
    }

    fn plan_checkpoint(
        &self,
        store: &mut Store<Outside>,
        facts: &CheckpointFacts,
    ) -> Result<CheckpointProposal> {
        let facts = convert::checkpoint_facts(facts);
        let proposal = self.ask(store, "plan-checkpoint", (facts,))?;
        Ok(convert::checkpoint_proposal(proposal))
    }

    fn plan_snapshot(
        &self,
        store: &mut Store<Outside>,
        facts: &SnapshotFacts,
    ) -> Result<Option<String>> {
        self.ask(store, "plan-snapshot", (&convert::snapshot_facts(facts),))
    }

    fn plan_verification(
        &self,
        store: &mut Store<Outside>,
        facts: &VerificationFacts,
    ) -> Result<Option<String>> {
        let facts = convert::verification_facts(facts);
        self.ask(store, "plan-verification", (facts,))
    }

    fn plan_compaction(
        &self,
        store: &mut Store<Outside>,
        facts: &CompactionFacts,
    ) -> Result<Readable<CompactionProposal>> {
        let facts = convert::compaction_facts(facts);
        let answer = self.ask(store, "plan-compaction", (&facts,))?;
        Ok(convert::compaction_proposals(answer))
    }

    fn plan_retention(
        &self,
        store: &mut Store<Outside>,
        facts: &RetentionFacts,
    ) -> Result<Readable<Keep>> {
        let facts = convert::retention_facts(facts);
        let answer = self.ask(store, "plan-retention", (&facts,))?;
        Ok(convert::keeps(answer))
    }

    fn plan_holds(&self, store: &mut Store<Outside>, facts: &HoldFacts) -> Result<Vec<Hold>> {
        let facts = convert::hold_facts(facts);
        let answer: Vec<types::Hold> = self.ask(store, "plan-holds", (&facts,))?;
        Ok(answer.into_iter().map(convert::hold).collect())
    }

    fn approve_restore(
        &self,
        store: &mut Store<Outside>,
        facts: &RestoreFacts,
    ) -> Result<Approval> {
        let facts = convert::restore_facts(facts);
        self.ask(store, "approve-restore", (&facts,))
    }

    fn on_event(&self, store: &mut Store<Outside>, event: &Event) -> Result<Vec<Alert>> {
        let event = convert::event(event);
        let answer: Vec<types::Alert> = self.ask(store, "on-event", (&event,))?;
        Ok(answer.into_iter().map(convert::alert).collect())
    }
}
