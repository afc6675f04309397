//! Version 0.1.0 of the contract: `wit/frozen/0.1.0/policy.wit`.
//!
//! It had neither a budget nor holds, approvals and events. What looked the same then as now is
//! taken from the newer version; [`types`] has the rest.

use std::result;

use lockkeeper_core::fallback;
use lockkeeper_core::guard::approval::Approval;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Hold,
    HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};
use wasmtime::component::Linker;
use wasmtime::{Result, Store};

use super::{Asked, Description, Readable, convert};
use crate::policy::outside::Outside;
use crate::policy::plan::{Diagnostic, Plan};

#[allow(
    unreachable_pub,
    reason = "the macro writes items for use outside the crate"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/frozen/0.1.0",
        world: "policy",
        with: { "lockkeeper:policy/types": super::types },
    });
}

pub(in crate::policy) use bindings::{Policy, PolicyPre};

/// The functions that a policy must export.
pub(super) const EXPORTS: [&str; 8] = [
    "describe",
    "validate",
    "plan-sync",
    "plan-checkpoint",
    "plan-snapshot",
    "plan-verification",
    "plan-compaction",
    "plan-retention",
];

/// Names for types; `log` is the same as in the newer version, which links it.
pub(super) fn link(linker: &mut Linker<Outside>) -> Result<()> {
    linker.instance("lockkeeper:policy/types@0.1.0").map(drop)
}

/// The records of the contract.
#[allow(
    unreachable_pub,
    reason = "generated code exports them from this crate's private module"
)]
pub mod types {
    use wasmtime::component::{ComponentType, Lift, Lower};

    pub use super::super::v0_2::types::{
        CheckpointProposal, CompactionProposal, Context, Diagnostic, FileFacts, Keep, LevelFacts,
        Plan, RetentionFacts, Severity, SyncProposal, Watermarks,
    };
    // Only named by generated code.
    pub use super::super::v0_2::types::{Host, HostWithStore, add_to_linker};

    #[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct SyncFacts {
        pub now: u64,
        pub marks: Watermarks,
        #[component(name = "oldest-pending-age")]
        pub oldest_pending_age: u64,
        #[component(name = "since-last-sync")]
        pub since_last_sync: Option<u64>,
        pub waiters: u32,
        #[component(name = "last-put-latency")]
        pub last_put_latency: Option<u64>,
        #[component(name = "consecutive-failures")]
        pub consecutive_failures: u32,
        #[component(name = "sync-interval")]
        pub sync_interval: u64,
    }

    #[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct CheckpointFacts {
        pub now: u64,
        #[component(name = "wal-pages")]
        pub wal_pages: u32,
        #[component(name = "since-last-checkpoint")]
        pub since_last_checkpoint: u64,
        #[component(name = "written-since-last-checkpoint")]
        pub written_since_last_checkpoint: bool,
        #[component(name = "snapshot-running")]
        pub snapshot_running: bool,
        #[component(name = "min-checkpoint-pages")]
        pub min_checkpoint_pages: u32,
        #[component(name = "truncate-pages")]
        pub truncate_pages: u32,
        #[component(name = "checkpoint-interval")]
        pub checkpoint_interval: u64,
    }

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct Inventory {
        pub now: u64,
        #[component(name = "database-bytes")]
        pub database_bytes: u64,
        pub marks: Watermarks,
        pub snapshots: Vec<FileFacts>,
        #[component(name = "snapshot-interval")]
        pub snapshot_interval: u64,
    }

    #[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct VerificationFacts {
        pub now: u64,
        pub marks: Watermarks,
        pub verified: u64,
        #[component(name = "since-last-verification")]
        pub since_last_verification: u64,
        #[component(name = "validation-interval")]
        pub validation_interval: u64,
    }

    #[derive(Clone, Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub struct CompactionFacts {
        pub now: u64,
        pub levels: Vec<LevelFacts>,
        #[component(name = "inputs-max")]
        pub inputs_max: u32,
    }
}

impl Asked for Policy {
    fn metadata(&self, store: &mut Store<Outside>) -> Result<Description> {
        let from = self.call_describe(store)?;
        Ok(Description {
            name: from.name,
            version: from.version,
            summary: from.summary,
            needs: Vec::new(),
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

    /// Nobody who waits for durability is left to a policy any more.
    fn plan_sync(&self, store: &mut Store<Outside>, facts: &SyncFacts) -> Result<SyncProposal> {
        let newer = convert::sync_facts(facts);
        let facts = types::SyncFacts {
            now: newer.now,
            marks: newer.marks,
            oldest_pending_age: newer.oldest_pending_age,
            since_last_sync: newer.since_last_sync,
            waiters: 0,
            last_put_latency: newer.last_put_latency,
            consecutive_failures: newer.consecutive_failures,
            sync_interval: newer.sync_interval,
        };
        let proposal = self.call_plan_sync(store, facts)?;
        Ok(SyncProposal {
            wait_ms: proposal.wait,
        })
    }

    fn plan_checkpoint(
        &self,
        store: &mut Store<Outside>,
        facts: &CheckpointFacts,
    ) -> Result<CheckpointProposal> {
        let newer = convert::checkpoint_facts(facts);
        let facts = types::CheckpointFacts {
            now: newer.now,
            wal_pages: newer.wal_pages,
            since_last_checkpoint: newer.since_last_checkpoint,
            written_since_last_checkpoint: newer.written_since_last_checkpoint,
            snapshot_running: newer.snapshot_running,
            min_checkpoint_pages: newer.min_checkpoint_pages,
            truncate_pages: newer.truncate_pages,
            checkpoint_interval: newer.checkpoint_interval,
        };
        let proposal = self.call_plan_checkpoint(store, facts)?;
        Ok(convert::checkpoint_proposal(proposal))
    }

    fn plan_snapshot(
        &self,
        store: &mut Store<Outside>,
        facts: &SnapshotFacts,
    ) -> Result<Option<String>> {
        let newer = convert::snapshot_facts(facts);
        let inventory = types::Inventory {
            now: newer.now,
            database_bytes: newer.database_bytes,
            marks: newer.marks,
            snapshots: newer.snapshots,
            snapshot_interval: newer.snapshot_interval,
        };
        self.call_plan_snapshot(store, &inventory)
    }

    fn plan_verification(
        &self,
        store: &mut Store<Outside>,
        facts: &VerificationFacts,
    ) -> Result<Option<String>> {
        let newer = convert::verification_facts(facts);
        let facts = types::VerificationFacts {
            now: newer.now,
            marks: newer.marks,
            verified: newer.verified,
            since_last_verification: newer.since_last_verification,
            validation_interval: newer.validation_interval,
        };
        self.call_plan_verification(store, facts)
    }

    fn plan_compaction(
        &self,
        store: &mut Store<Outside>,
        facts: &CompactionFacts,
    ) -> Result<Readable<CompactionProposal>> {
        let newer = convert::compaction_facts(facts);
        let facts = types::CompactionFacts {
            now: newer.now,
            levels: newer.levels,
            inputs_max: newer.inputs_max,
        };
        let answer = self.call_plan_compaction(store, &facts)?;
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

    fn plan_holds(&self, _: &mut Store<Outside>, _: &HoldFacts) -> Result<Vec<Hold>> {
        Ok(Vec::new())
    }

    fn approve_restore(&self, _: &mut Store<Outside>, _: &RestoreFacts) -> Result<Approval> {
        Ok(Ok(()))
    }

    fn on_event(&self, _: &mut Store<Outside>, event: &Event) -> Result<Vec<Alert>> {
        Ok(fallback::on_event(event))
    }
}
