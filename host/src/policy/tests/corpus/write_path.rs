//! What a policy does to the way of commits, counted in a world where time is a number: a machine
//! that does other things changes nothing. No commit waits for a call, but while one is made
//! nothing is sealed; so each call that gives no answer takes the whole time that it may take.

use lockkeeper_core::guard::budget::{self, Budget, Class};

use super::super::super::strikes::STRIKES_MAX;

use super::*;

/// Commits come every 10 ms for 20 seconds; one may wait for a second.
const COMMITS: u64 = 2000;
const COMMIT_EVERY_MS: u64 = 10;
const SYNC_INTERVAL_MS: u64 = 1000;
/// What a call takes at most: [`DECISION`] says so.
pub(super) const CALL_MS: u64 = 200;
/// Seals that no schedule asks for and the budget pays for, in this time.
const EARLY_MAX: u64 = 510;
/// Questions about commits that wait on: 20 in each sync interval, and at its end.
const QUESTIONS_MAX: u64 = 21 * COMMITS * COMMIT_EVERY_MS / SYNC_INTERVAL_MS;

/// How far commits came.
#[derive(Debug, Default)]
pub(super) struct WritePath {
    /// Commits that were sealed when the time was over.
    sealed: u64,
    seals: u64,
    /// Questions that were asked of the policy. No commit waits for one: the log is read beside it.
    questions: u64,
    waited_ms_max: u64,
    /// Of the component, which were given up.
    failures: u64,
    /// What each of them took.
    call_ms: u64,
}

impl WritePath {
    /// Of a policy whose calls take `call_ms` each if they give no answer.
    pub(super) fn under(policy: &Policy, call_ms: u64) -> Self {
        assert_eq!(DECISION.deadline, Duration::from_millis(CALL_MS));
        let mut path = Self {
            failures: policy.stats().failures,
            call_ms,
            ..Self::default()
        };
        let mut budget = Budget::default();
        let mut last_sync_ms = None;
        let mut now_ms = COMMIT_EVERY_MS;
        while now_ms <= COMMITS * COMMIT_EVERY_MS {
            let oldest_ms = (path.sealed + 1) * COMMIT_EVERY_MS;
            let facts = SyncFacts {
                now_ms,
                oldest_pending_age_ms: now_ms.saturating_sub(oldest_ms),
                since_last_sync_ms: last_sync_ms.map(|at_ms: u64| now_ms - at_ms),
                sync_interval_ms: SYNC_INTERVAL_MS,
                budget_left: budget.left(Class::Upload, now_ms),
                ..SyncFacts::default()
            };
            let wait_ms = policy.plan_sync(&facts);
            path.questions += 1;
            let failures = policy.stats().failures;
            if failures > path.failures {
                path.failures = failures;
                now_ms += call_ms;
            }
            if wait_ms > 0 {
                now_ms += wait_ms;
                continue;
            }
            budget.spend(Class::Upload, budget::of_sync(&facts, wait_ms), now_ms);
            path.waited_ms_max = path.waited_ms_max.max(now_ms.saturating_sub(oldest_ms));
            path.sealed = now_ms / COMMIT_EVERY_MS;
            path.seals += 1;
            last_sync_ms = Some(now_ms);
            // The next commit is what wakes the worker.
            now_ms += COMMIT_EVERY_MS;
        }
        path
    }

    /// At least as many commits are through, less those of one interval: five in a hundred.
    #[track_caller]
    pub(super) fn is_as_good_as(&self, usual: &Self, name: &str) {
        let least = usual.sealed - usual.sealed / 20;
        assert!(self.sealed >= least, "{name}: {self:?} beside {usual:?}");
        // So many failures set it aside.
        let most = SYNC_INTERVAL_MS + u64::from(STRIKES_MAX) * self.call_ms;
        assert!(self.waited_ms_max <= most, "{name}: {self:?}");
        assert!(usual.waited_ms_max <= SYNC_INTERVAL_MS, "{usual:?}");
        assert!(self.seals <= usual.seals + EARLY_MAX, "{name}: {self:?}");
        let most = self.seals + QUESTIONS_MAX;
        assert!(self.questions <= most, "{name}: {self:?}");
    }
}
