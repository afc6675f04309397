//! Asks a component one question, whichever kind it is.

use lockkeeper_core::decision::{Facts, Proposal};
use lockkeeper_core::policy::SyncProposal;
use wasmtime::Store;

use super::component::{Component, on_own_thread};
use super::convert;
use super::failure::Failure;
use super::outside::Outside;
use super::sandbox::{DECISION, Usage};
use super::world::Exports;
use crate::{Error, Result};

/// What one answer took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// Instructions, roughly; the same each time for the same question.
    pub fuel: u64,
    /// The memory of the instance, in bytes.
    pub memory_bytes: usize,
}

/// A component that is asked beside an engine: in a test, a replay or a simulation.
#[derive(Debug)]
pub struct Trial<'a> {
    component: &'a Component,
}

impl Component {
    /// Asks the component beside an engine, on a thread of its own that lives as long as `work`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the thread cannot be started.
    pub fn on_trial<T: Send>(&self, work: impl FnOnce(&Trial<'_>) -> T + Send) -> Result<T> {
        on_own_thread(|| work(&Trial { component: self }))
    }
}

impl Trial<'_> {
    /// What the component proposes. No guard has looked at it.
    ///
    /// # Errors
    ///
    /// `Invalid` if it gives no answer within the bounds of the sandbox.
    pub fn propose(&self, facts: &Facts) -> Result<(Proposal, Cost)> {
        let (answer, usage) = ask(self.component, facts);
        let cost = Cost {
            fuel: usage.fuel,
            memory_bytes: usage.memory_bytes,
        };
        match answer {
            Ok(proposal) => Ok((proposal, cost)),
            Err(why) => Err(Error::invalid(format!(
                "the policy {} gave no answer to {}: {why}",
                self.component.name(),
                facts.name()
            ))),
        }
    }
}

/// Must run where blocking is allowed.
pub(super) fn ask(
    component: &Component,
    facts: &Facts,
) -> (std::result::Result<Proposal, Failure>, Usage) {
    component.decide(DECISION, |store, exports| call(store, exports, facts))
}

fn call(
    store: &mut Store<Outside>,
    exports: &Exports,
    facts: &Facts,
) -> wasmtime::Result<Proposal> {
    Ok(match facts {
        Facts::Sync(facts) => {
            let proposal = exports.call_plan_sync(store, convert::sync_facts(facts))?;
            Proposal::Sync(SyncProposal {
                wait_ms: proposal.wait,
            })
        }
        Facts::Checkpoint(facts) => {
            let proposal = exports.call_plan_checkpoint(store, convert::checkpoint_facts(facts))?;
            Proposal::Checkpoint(convert::checkpoint_proposal(proposal))
        }
        Facts::Snapshot(facts) => {
            Proposal::Snapshot(exports.call_plan_snapshot(store, &convert::inventory(facts))?)
        }
        Facts::Verification(facts) => {
            let facts = convert::verification_facts(facts);
            Proposal::Verification(exports.call_plan_verification(store, facts)?)
        }
        Facts::Compaction(facts) => {
            let facts = convert::compaction_facts(facts);
            let proposals = exports.call_plan_compaction(store, &facts)?;
            Proposal::Compaction(convert::compaction_proposals(proposals))
        }
        Facts::Retention(facts) => {
            let keeps = exports.call_plan_retention(store, &convert::retention_facts(facts))?;
            Proposal::Retention(convert::keeps(keeps))
        }
    })
}
