//! Who decides.

mod plan;

pub(crate) use plan::{DatabasePlan, Plan, ReplicaPlan, Secret, Setting, Value};
pub use plan::{Diagnostic, Position, Severity};

use lockkeeper_core::fallback;
use lockkeeper_core::policy::{CheckpointFacts, CheckpointProposal, SnapshotFacts, SyncFacts};

/// The policy of one engine: the built-in decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {}

impl Policy {
    pub(crate) fn plan_sync(&self, facts: &SyncFacts) -> u64 {
        fallback::plan_sync(facts)
            .wait_ms
            .min(facts.sync_interval_ms)
    }

    pub(crate) fn plan_checkpoint(&self, facts: &CheckpointFacts) -> CheckpointProposal {
        fallback::plan_checkpoint(facts)
    }

    pub(crate) fn plan_snapshot(&self, facts: &SnapshotFacts) -> Option<String> {
        fallback::plan_snapshot(facts).map(str::to_owned)
    }
}
