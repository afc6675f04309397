//! A component in use, with its record.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Result, Store};

use super::component::Component;
use super::contract::Asked;
use super::outside::Outside;
use super::record::Record;
use super::sandbox::DECISION;
use super::strikes::Decision;

/// A component that is asked for decisions, and how it has served.
pub(super) struct Served {
    pub(super) component: Component,
    pub(super) digest: Arc<str>,
    pub(super) record: Record,
}

/// What became of a question.
#[derive(Debug)]
pub(super) enum Answered<T> {
    Proposed(T),
    Failed(String),
    NotAsked,
}

impl Served {
    pub(super) fn new(component: Component) -> Self {
        Self {
            digest: component.digest().into(),
            record: Record::new(component.name().to_owned()),
            component,
        }
    }

    /// The component's answer, if it may be asked and it answers.
    pub(super) fn ask<T>(
        &self,
        decision: Decision,
        call: impl FnOnce(&dyn Asked, &mut Store<Outside>) -> Result<T>,
    ) -> Answered<T> {
        if !self.record.may_ask() {
            return Answered::NotAsked;
        }
        let started = Instant::now();
        let (answer, usage) = self.component.decide(DECISION, call);
        self.record.took(decision, started.elapsed());
        tracing::trace!(
            decision = decision.name(),
            fuel = usage.fuel,
            memory_bytes = usage.memory_bytes,
            "asked the policy"
        );
        match answer {
            Ok(answer) => {
                self.record.answered(decision);
                Answered::Proposed(answer)
            }
            Err(why) => {
                self.record.failed(decision, &why);
                Answered::Failed(why.to_string())
            }
        }
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Served").field(&self.component).finish()
    }
}
