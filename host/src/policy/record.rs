//! How a component has served: counted, and now and then told to the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::rate::RateLimit;
use super::strikes::{Decision, SET_ASIDE, Strikes, TIME_MAX};

/// Lines about failures and about clamped proposals, each, in a [`WINDOW`]: one for each kind of
/// decision.
const LINES_MAX: u32 = Decision::COUNT as u32;
const WINDOW: Duration = Duration::from_secs(60);

/// How a component has served; all zero where there is none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyStats {
    /// Decisions the component was asked for.
    pub calls: u64,
    /// Calls without an answer; the built-in rules decided.
    pub failures: u64,
    /// Proposals that the guard changed.
    pub clamps: u64,
    /// The same by decision and reason. There are as many entries as there are reasons, at most.
    pub refusals: Vec<Refusal>,
    /// How long the calls took together.
    pub time: Duration,
    /// Whether it is not asked for now, because it failed several times in a row or is too slow.
    pub set_aside: bool,
    /// How long until a component that was set aside is asked again.
    pub asked_again_in: Option<Duration>,
}

/// How often the guard changed a proposal for one reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The decision, as the contract names its function; for example `plan-sync`.
    pub decision: &'static str,
    /// Stable, kebab-case; for example `sync-too-late`.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

/// How one component has served.
pub(super) struct Record {
    /// What the component calls itself.
    policy: String,
    strikes: Mutex<Strikes>,
    calls: AtomicU64,
    failures: AtomicU64,
    time_us: AtomicU64,
    refusals: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    failure_lines: RateLimit,
    clamp_lines: RateLimit,
}

impl Record {
    /// Of the component that messages call `policy`.
    pub(super) fn new(policy: String) -> Self {
        Self {
            policy,
            strikes: Mutex::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            time_us: AtomicU64::new(0),
            refusals: Mutex::default(),
            failure_lines: RateLimit::new(LINES_MAX, WINDOW),
            clamp_lines: RateLimit::new(LINES_MAX, WINDOW),
        }
    }

    /// Whether the component may be asked now; if so, that it is.
    pub(super) fn may_ask(&self) -> bool {
        let may_ask = lock(&self.strikes).may_ask(Instant::now());
        self.calls.fetch_add(u64::from(may_ask), Ordering::Relaxed);
        may_ask
    }

    /// Records how long a call took, whatever came of it.
    pub(super) fn took(&self, decision: Decision, time: Duration) {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.time_us.fetch_add(time_us, Ordering::Relaxed);
        if lock(&self.strikes).took(time, Instant::now()) {
            let reason = format!("it took more than {TIME_MAX:?} in a minute");
            self.set_aside(decision, &reason);
        }
    }

    /// The alarm.
    fn set_aside(&self, decision: Decision, reason: &dyn fmt::Display) {
        tracing::error!(
            policy = %self.policy, decision = decision.name(), %reason,
            asked_again_in_seconds = SET_ASIDE.as_secs(),
            "the policy is set aside; the built-in rules decide, and nothing is deleted"
        );
    }

    pub(super) fn answered(&self, decision: Decision) {
        if lock(&self.strikes).answered(decision, Instant::now()) {
            tracing::info!(policy = %self.policy, "the policy answers again");
        }
    }

    pub(super) fn failed(&self, decision: Decision, why: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let (policy, name) = (&self.policy, decision.name());
        if let Some(suppressed) = self.failure_lines.admit(now) {
            tracing::warn!(%policy, decision = name, suppressed, reason = %why, "the policy gave no answer; the built-in rules decide");
        }
        if lock(&self.strikes).failed(decision, now) {
            self.set_aside(decision, why);
        }
    }

    /// Counts, and now and then reports, what the guard did not let through.
    pub(super) fn refused(&self, decision: Decision, reason: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count == 0 {
            return;
        }
        let mut refusals = lock(&self.refusals);
        let counted = refusals.entry((decision.name(), reason)).or_default();
        *counted = counted.saturating_add(count);
        drop(refusals);
        if let Some(suppressed) = self.clamp_lines.admit(Instant::now()) {
            tracing::warn!(policy = %self.policy, decision = decision.name(), %reason, suppressed, "a proposal was changed");
        }
    }

    pub(super) fn stats(&self) -> PolicyStats {
        let refusals = lock(&self.refusals);
        let refusal = |(&(decision, reason), &count): (&(_, _), &u64)| Refusal {
            decision,
            reason,
            count,
        };
        let refusals: Vec<Refusal> = refusals.iter().map(refusal).collect();
        let strikes = lock(&self.strikes);
        PolicyStats {
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            time: Duration::from_micros(self.time_us.load(Ordering::Relaxed)),
            clamps: refusals.iter().map(|refusal| refusal.count).sum(),
            refusals,
            set_aside: strikes.is_set_aside(),
            asked_again_in: strikes.asked_again_in(Instant::now()),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.stats()).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are whole whenever a holder panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
