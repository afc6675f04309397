//! Who decides: a sandboxed component, and built-in rules where it gives no answer.
//!
//! A [`Component`] is loaded from a [`PolicySource`] and held against `wit/policy.wit`. It
//! validates configurations, and an engine asks it when to sync, to checkpoint and to take a
//! snapshot. Each call runs in an instance of its own with bounds on time, memory, stack and the
//! size of the answer, and reaches nothing but a log. What it proposes passes the guard of
//! `lockkeeper_core`.
//!
//! Another component can take its place while it decides ([`Installation`]): it is loaded and held
//! against the contract, answers the questions of [`self_test`], then answers beside the current
//! one, and decides from one decision to the next. What was decided and why is recorded in a
//! [`trace`].

mod component;
mod contract;
mod decide;
mod failure;
mod journal;
mod limiter;
mod observer;
mod outside;
mod plan;
mod question;
mod rate;
mod recent;
mod record;
mod sandbox;
mod selftest;
mod served;
mod shadow;
mod source;
mod stored;
mod strikes;
mod swap;
pub mod trace;

pub use component::{Component, Validation};
pub(crate) use decide::Policy;
pub use lockkeeper_core::{decision, simulation, vectors};
pub use observer::TraceStats;
pub(crate) use plan::{DatabasePlan, Plan, ReplicaPlan, Setting, Value};
pub use plan::{Diagnostic, Position, Severity};
pub use question::{Cost, Trial};
pub use recent::DecisionNote;
pub use record::{PolicyStats, Refusal};
pub use selftest::self_test;
pub use shadow::Shadowed;
pub use source::{COMPONENT_BYTES_MAX, PolicySource};
pub use stored::{POLICY_FORMAT, POLICY_SCOPE, StoredPolicies};
pub use swap::{Deciding, Identity, Installation, Installed};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
