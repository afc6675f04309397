//! Asks a component one question, whichever kind it is.

use lockkeeper_core::decision::{Facts, Proposal};
use wasmtime::Store;

use super::component::{Component, on_own_thread};
use super::contract::Asked;
use super::failure::Failure;
use super::outside::Outside;
use super::sandbox::{DECISION, Usage};
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
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> lockkeeper::Result<()> {
    /// use lockkeeper::policy::decision::Facts;
    /// use lockkeeper::policy::{Component, PolicySource, self_test, trace, vectors};
    ///
    /// let component = Component::load(&PolicySource::Embedded)?;
    /// let questions = vectors::all();
    /// assert_eq!(self_test(&component)?, questions.len());
    /// let (name, facts): &(&str, Facts) = &questions[0];
    /// let (proposal, cost) = component.on_trial(|trial| trial.propose(facts))??;
    /// println!("{name}: {proposal:?} for {} units of fuel", cost.fuel);
    /// println!("in a trace it is {}", trace::hash(&proposal));
    /// # Ok(())
    /// # }
    /// ```
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

/// What the component proposes. Must run where blocking is allowed.
pub(super) fn ask(
    component: &Component,
    facts: &Facts,
) -> (std::result::Result<Proposal, Failure>, Usage) {
    let (answer, usage) = component.decide(DECISION, |asked, store| call(asked, store, facts));
    (answer.map(|read| read.proposal), usage)
}

/// A proposal, and how much of it could not be read.
pub(super) struct Read {
    pub(super) proposal: Proposal,
    /// Items of a list that were left out, for they name nothing.
    pub(super) unreadable: usize,
}

pub(super) fn call(
    asked: &dyn Asked,
    store: &mut Store<Outside>,
    facts: &Facts,
) -> wasmtime::Result<Read> {
    let mut unreadable = 0;
    let proposal = match facts {
        Facts::Sync(facts) => Proposal::Sync(asked.plan_sync(store, facts)?),
        Facts::Checkpoint(facts) => Proposal::Checkpoint(asked.plan_checkpoint(store, facts)?),
        Facts::Snapshot(facts) => Proposal::Snapshot(asked.plan_snapshot(store, facts)?),
        Facts::Verification(facts) => {
            Proposal::Verification(asked.plan_verification(store, facts)?)
        }
        Facts::Compaction(facts) => {
            let read = asked.plan_compaction(store, facts)?;
            unreadable = read.unreadable;
            Proposal::Compaction(read.items)
        }
        Facts::Retention(facts) => {
            let read = asked.plan_retention(store, facts)?;
            unreadable = read.unreadable;
            // What cannot be read may be what is to be kept.
            Proposal::Retention((unreadable == 0).then_some(read.items))
        }
        Facts::Holds(facts) => Proposal::Holds(asked.plan_holds(store, facts)?),
        Facts::Restore(facts) => Proposal::Restore(asked.approve_restore(store, facts)?),
        Facts::Event(event) => Proposal::Event(asked.on_event(store, event)?),
    };
    Ok(Read {
        proposal,
        unreadable,
    })
}
