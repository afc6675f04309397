//! A component in use, with its record.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockkeeper_core::decision::Facts;

use super::component::Component;
use super::decide::PolicyStats;
use super::failure::Failure;
use super::observer::Answered;
use super::question;
use super::rate::RateLimit;
use super::strikes::{Decision, SET_ASIDE, Strikes};

/// Lines about failures and about clamped proposals, each, in a [`WINDOW`]: one for each kind of
/// decision.
const LINES_MAX: u32 = Decision::COUNT as u32;
const WINDOW: Duration = Duration::from_secs(60);

/// A component that is asked for decisions, and how it has served.
pub(super) struct Served {
    pub(super) component: Component,
    pub(super) digest: Arc<str>,
    strikes: Mutex<Strikes>,
    calls: AtomicU64,
    failures: AtomicU64,
    clamps: AtomicU64,
    failure_lines: RateLimit,
    clamp_lines: RateLimit,
}

impl Served {
    pub(super) fn new(component: Component) -> Self {
        Self {
            digest: component.digest().into(),
            component,
            strikes: Mutex::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            clamps: AtomicU64::new(0),
            failure_lines: RateLimit::new(LINES_MAX, WINDOW),
            clamp_lines: RateLimit::new(LINES_MAX, WINDOW),
        }
    }

    /// The component's answer, if it may be asked and it answers.
    pub(super) fn ask(&self, decision: Decision, facts: &Facts) -> Answered {
        if !self.strikes().may_ask(Instant::now()) {
            return Answered::NotAsked;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (answer, usage) = question::ask(&self.component, facts);
        tracing::trace!(
            decision = decision.name(),
            fuel = usage.fuel,
            memory_bytes = usage.memory_bytes,
            "asked the policy"
        );
        match answer {
            Ok(proposal) => {
                self.answered(decision);
                Answered::Proposed(proposal)
            }
            Err(why) => {
                self.failed(decision, &why);
                Answered::Failed(why.to_string())
            }
        }
    }

    fn answered(&self, decision: Decision) {
        if self.strikes().answered(decision) {
            tracing::info!(policy = %self.component.name(), "the policy answers again");
        }
    }

    fn failed(&self, decision: Decision, why: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let (policy, decision_name) = (self.component.name(), decision.name());
        if let Some(suppressed) = self.failure_lines.admit(now) {
            tracing::warn!(%policy, decision = decision_name, suppressed, reason = %why, "the policy gave no answer; the built-in rules decide");
        }
        if self.strikes().failed(decision, now) {
            tracing::error!(%policy, decision = decision_name, reason = %why, seconds = SET_ASIDE.as_secs(), "the policy is set aside; the built-in rules decide");
        }
    }

    /// Counts, and now and then reports, what the guard did not let through.
    pub(super) fn clamped(&self, decision: Decision, count: usize, reason: &str) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.clamps.fetch_add(count, Ordering::Relaxed);
        if let Some(suppressed) = self.clamp_lines.admit(Instant::now()) {
            let decision = decision.name();
            tracing::warn!(policy = %self.component.name(), decision, %reason, suppressed, "a proposal was changed");
        }
    }

    pub(super) fn stats(&self) -> PolicyStats {
        PolicyStats {
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            clamps: self.clamps.load(Ordering::Relaxed),
            set_aside: self.strikes().is_set_aside(),
        }
    }

    fn strikes(&self) -> MutexGuard<'_, Strikes> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Served").field(&self.component).finish()
    }
}
