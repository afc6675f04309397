//! When a component that fails is no longer asked.

use std::time::{Duration, Instant};

/// Failures in a row of one kind of decision after which the component is set aside.
pub(super) const STRIKES_MAX: u32 = 3;
/// How long it is set aside: long beside what three failures cost, short beside the time until
/// somebody reads the alarm.
pub(super) const SET_ASIDE: Duration = Duration::from_secs(60);

/// What the calls of a component may take together in a [`WINDOW`]: three in a hundred of what one
/// thread does.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(60);
/// Calls that are as quick as this on average are not too slow, however many databases there are to
/// ask about.
const QUICK: Duration = Duration::from_millis(1);

/// The kinds of decision. Each counts for itself: one that always fails must not hide behind
/// another that works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    Sync,
    Checkpoint,
    Snapshot,
    Verification,
    Compaction,
    Retention,
    Holds,
    Restore,
    Event,
}

impl Decision {
    pub(super) const COUNT: usize = 9;

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sync => "plan-sync",
            Self::Checkpoint => "plan-checkpoint",
            Self::Snapshot => "plan-snapshot",
            Self::Verification => "plan-verification",
            Self::Compaction => "plan-compaction",
            Self::Retention => "plan-retention",
            Self::Holds => "plan-holds",
            Self::Restore => "approve-restore",
            Self::Event => "on-event",
        }
    }
}

/// The failures of one component.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    /// In a row, by decision.
    failures: [u32; Decision::COUNT],
    set_aside_until: Option<Instant>,
    window: Window,
}

/// What the calls of a component took in a [`WINDOW`].
#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    calls: u32,
    time: Duration,
}

impl Strikes {
    /// Whether the component may be asked.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.set_aside_until.is_none_or(|until| now >= until)
    }

    /// Whether the component was set aside and has not answered since.
    pub(super) fn is_set_aside(&self) -> bool {
        self.set_aside_until.is_some()
    }

    /// How long until a component that was set aside is asked again.
    pub(super) fn asked_again_in(&self, now: Instant) -> Option<Duration> {
        let until = self.set_aside_until?;
        Some(until.saturating_duration_since(now))
    }

    /// Records an answer. Returns whether this ends a time of being set aside; an answer that was
    /// under way, or too long on its way, does not.
    pub(super) fn answered(&mut self, decision: Decision, now: Instant) -> bool {
        *self.count(decision) = 0;
        let is_clean = self.failures.iter().all(|&count| count < STRIKES_MAX);
        is_clean && self.may_ask(now) && self.set_aside_until.take().is_some()
    }

    /// Records a failure. Returns whether the component is set aside for it; one that was before
    /// is so again after the first.
    pub(super) fn failed(&mut self, decision: Decision, now: Instant) -> bool {
        let count = self.count(decision);
        *count = count.saturating_add(1);
        // Calls that were under way when it was set aside do not prolong it.
        let is_struck = *count >= STRIKES_MAX && self.may_ask(now);
        if is_struck {
            self.set_aside_until = Some(now + SET_ASIDE);
        }
        is_struck
    }

    /// Records how long a call took. Returns whether the component is set aside for it.
    pub(super) fn took(&mut self, time: Duration, now: Instant) -> bool {
        let window = &mut self.window;
        let is_over = |start| now.saturating_duration_since(start) >= WINDOW;
        if window.start.is_none_or(is_over) {
            *window = Window {
                start: Some(now),
                ..Window::default()
            };
        }
        window.calls = window.calls.saturating_add(1);
        window.time = window.time.saturating_add(time);
        let is_slow = window.time > TIME_MAX && window.time / window.calls > QUICK;
        let is_struck = is_slow && self.may_ask(now);
        if is_struck {
            self.set_aside_until = Some(now + SET_ASIDE);
        }
        is_struck
    }

    fn count(&mut self, decision: Decision) -> &mut u32 {
        let [
            sync,
            checkpoint,
            snapshot,
            verification,
            compaction,
            retention,
            holds,
            restore,
            event,
        ] = &mut self.failures;
        match decision {
            Decision::Sync => sync,
            Decision::Checkpoint => checkpoint,
            Decision::Snapshot => snapshot,
            Decision::Verification => verification,
            Decision::Compaction => compaction,
            Decision::Retention => retention,
            Decision::Holds => holds,
            Decision::Restore => restore,
            Decision::Event => event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_is_slow_is_set_aside_and_one_that_is_asked_often_is_not() {
        let start = Instant::now();
        let mut quick = Strikes::default();
        assert!((0..100_000).all(|_| !quick.took(QUICK, start)));
        let mut slow = Strikes::default();
        let call = Duration::from_millis(199);
        let calls = (1..).find(|_| slow.took(call, start)).unwrap();
        assert_eq!(calls, 11);
        assert!(!slow.may_ask(start) && slow.is_set_aside());
        assert!(!slow.took(call, start), "a call that was under way");
        assert!(!slow.answered(Decision::Sync, start), "and its answer");
        assert!(slow.is_set_aside());
        let end = start + SET_ASIDE;
        assert!(slow.may_ask(end));
        assert!(!slow.took(call, end), "another window");
        assert!(slow.answered(Decision::Sync, end));
    }

    #[test]
    fn three_failures_in_a_row_of_one_decision_set_it_aside_for_a_while() {
        let start = Instant::now();
        let mut strikes = Strikes::default();
        assert!(!strikes.failed(Decision::Sync, start));
        assert!(!strikes.failed(Decision::Sync, start));
        strikes.answered(Decision::Sync, start);
        for _ in 1..STRIKES_MAX {
            assert!(!strikes.failed(Decision::Sync, start));
            strikes.answered(Decision::Checkpoint, start);
        }
        assert!(strikes.may_ask(start));
        assert!(strikes.failed(Decision::Sync, start));
        assert!(!strikes.may_ask(start));
        assert!(strikes.is_set_aside());

        let end = start + SET_ASIDE;
        assert!(!strikes.may_ask(end - Duration::from_millis(1)));
        assert!(strikes.may_ask(end));
        assert!(
            strikes.failed(Decision::Sync, end),
            "one more failure is enough"
        );
        assert!(!strikes.may_ask(end));

        let end = end + SET_ASIDE;
        assert!(
            !strikes.answered(Decision::Checkpoint, end),
            "the decision that failed has not answered"
        );
        assert!(strikes.answered(Decision::Sync, end));
        assert!(!strikes.is_set_aside());
        assert!(strikes.may_ask(end));
    }
}
