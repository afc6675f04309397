//! What a policy has spent on requests for one database.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lockkeeper_core::guard::budget::{Budget, Class};

/// The budget of one database, at the times of a clock that nobody sets.
#[derive(Debug)]
pub(crate) struct Spending {
    since: Instant,
    budget: Mutex<Budget>,
}

impl Default for Spending {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            budget: Mutex::default(),
        }
    }
}

impl Spending {
    /// How much of a class is left.
    pub(crate) fn left(&self, class: Class) -> u32 {
        self.lock().left(class, self.now_ms())
    }

    /// Pays for what the guard let through.
    pub(crate) fn spend(&self, class: Class, count: u32) {
        if count > 0 {
            self.lock().spend(class, count, self.now_ms());
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Budget> {
        // What was spent is one number for each class, changed in one step.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
