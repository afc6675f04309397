//! Who decides: a sandboxed component, and built-in rules where it gives no answer.
//!
//! A [`Component`] is loaded from a [`PolicySource`] and held against `wit/policy.wit`. It
//! validates configurations, and an engine asks it when to sync, to checkpoint and to take a
//! snapshot. Each call runs in an instance of its own with bounds on time, memory, stack and the
//! size of the answer, and reaches nothing but a log. What it proposes passes the guard of
//! `lockkeeper_core`.

mod component;
mod contract;
mod decide;
mod failure;
mod journal;
mod limiter;
mod outside;
mod plan;
mod rate;
mod record;
mod sandbox;
mod source;
mod strikes;

pub use component::{Component, Validation};
pub(crate) use decide::Policy;
pub(crate) use plan::{DatabasePlan, Plan, ReplicaPlan, Setting, Value};
pub use plan::{Diagnostic, Position, Severity};
pub use record::{PolicyStats, Refusal};
pub use source::{COMPONENT_BYTES_MAX, PolicySource};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
