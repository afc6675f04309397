//! Version 0.2.0 of the contract: `wit/policy.wit`.

use std::result;

use lockkeeper_core::guard::approval::Approval;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Hold,
    HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Result, Store};

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

pub(in crate::policy) use bindings::lockkeeper::policy::types;
pub(in crate::policy) use bindings::{Policy, PolicyImports, PolicyPre};

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

impl Asked for Policy {
    fn metadata(&self, store: &mut Store<Outside>) -> Result<Description> {
        let from = self.call_metadata(store)?;
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
        let answer = self.call_validate(store, source, &context)?;
        Ok(answer.map(convert::plan).map_err(convert::diagnostics))
    }

    fn plan_sync(&self, store: &mut Store<Outside>, facts: &SyncFacts) -> Result<SyncProposal> {
        let proposal = self.call_plan_sync(store, convert::sync_facts(facts))?;
        Ok(SyncProposal {
            wait_ms: proposal.wait,
        })
    }

    fn plan_checkpoint(
        &self,
        store: &mut Store<Outside>,
        facts: &CheckpointFacts,
    ) -> Result<CheckpointProposal> {
        let proposal = self.call_plan_checkpoint(store, convert::checkpoint_facts(facts))?;
        Ok(convert::checkpoint_proposal(proposal))
    }

    fn plan_snapshot(
        &self,
        store: &mut Store<Outside>,
        facts: &SnapshotFacts,
    ) -> Result<Option<String>> {
        self.call_plan_snapshot(store, &convert::snapshot_facts(facts))
    }

    fn plan_verification(
        &self,
        store: &mut Store<Outside>,
        facts: &VerificationFacts,
    ) -> Result<Option<String>> {
        self.call_plan_verification(store, convert::verification_facts(facts))
    }

    fn plan_compaction(
        &self,
        store: &mut Store<Outside>,
        facts: &CompactionFacts,
    ) -> Result<Readable<CompactionProposal>> {
        let answer = self.call_plan_compaction(store, &convert::compaction_facts(facts))?;
        Ok(convert::compaction_proposals(answer))
    }

    fn plan_retention(
        &self,
        store: &mut Store<Outside>,
        facts: &RetentionFacts,
    ) -> Result<Readable<Keep>> {
        let answer = self.call_plan_retention(store, &convert::retention_facts(facts))?;
        Ok(convert::keeps(answer))
    }

    fn plan_holds(&self, store: &mut Store<Outside>, facts: &HoldFacts) -> Result<Vec<Hold>> {
        let answer = self.call_plan_holds(store, &convert::hold_facts(facts))?;
        Ok(answer.into_iter().map(convert::hold).collect())
    }

    fn approve_restore(
        &self,
        store: &mut Store<Outside>,
        facts: &RestoreFacts,
    ) -> Result<Approval> {
        self.call_approve_restore(store, &convert::restore_facts(facts))
    }

    fn on_event(&self, store: &mut Store<Outside>, event: &Event) -> Result<Vec<Alert>> {
        let answer = self.call_on_event(store, &convert::event(event))?;
        Ok(answer.into_iter().map(convert::alert).collect())
    }
}
