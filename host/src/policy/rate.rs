//! A bound on how often the same thing is written to the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Admits a number of lines in each window of time.
#[derive(Debug)]
pub(super) struct RateLimit {
    lines_max: u32,
    window: Duration,
    state: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl RateLimit {
    pub(super) fn new(lines_max: u32, window: Duration) -> Self {
        Self {
            lines_max,
            window,
            state: Mutex::default(),
        }
    }

    /// Whether one more line may be written at `now`: `Some` with the number of lines that were
    /// not written since the last one.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |start| now.saturating_duration_since(start) >= self.window;
        if state.start.is_none_or(is_over) {
            state.start = Some(now);
            state.lines = 0;
        }
        if state.lines >= self.lines_max {
            state.suppressed = state.suppressed.saturating_add(1);
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported_with_the_next() {
        let limit = RateLimit::new(2, Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + Duration::from_secs(9)), None);
        assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(2));
        assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(0));
    }
}
