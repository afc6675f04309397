//! The last decisions about one database, for people.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Decisions that are kept of each database.
const DECISIONS_MAX: usize = 12;

/// A decision, and how often in a row it was the same.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DecisionNote {
    /// What was asked, by the name of the export: `plan-sync` and so on.
    pub decision: &'static str,
    /// What was done, with the reason that was given.
    pub outcome: String,
    /// Reason codes of what the guard changed.
    pub clamps: Vec<&'static str>,
    /// The name of the component that answered; `None` if the built-in rules decided.
    pub by: Option<String>,
    /// When it was last decided so, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// How often.
    pub times: u64,
}

impl DecisionNote {
    /// How long a sync waits differs each time and says nothing.
    fn is_like(&self, other: &Self) -> bool {
        let is_same_outcome = self.outcome == other.outcome || self.decision == "plan-sync";
        self.decision == other.decision
            && is_same_outcome
            && self.clamps == other.clamps
            && self.by == other.by
    }
}

/// The last decisions about one database; what is decided again and again takes one place.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<DecisionNote>>);

impl Recent {
    pub(super) fn note(&self, mut note: DecisionNote) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = notes.iter().position(|known| known.is_like(&note)) {
            let known = notes.remove(at).map_or(0, |known| known.times);
            note.times = note.times.saturating_add(known);
        }
        if notes.len() >= DECISIONS_MAX {
            notes.pop_front();
        }
        notes.push_back(note);
    }

    /// Oldest first.
    pub(super) fn notes(&self) -> Vec<DecisionNote> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(decision: &'static str, outcome: &str, at_ms: u64) -> DecisionNote {
        DecisionNote {
            decision,
            outcome: outcome.into(),
            clamps: Vec::new(),
            by: None,
            at_ms,
            times: 1,
        }
    }

    #[test]
    fn what_is_decided_again_takes_one_place_and_is_counted() {
        let recent = Recent::default();
        recent.note(note("plan-sync", "seal in 7 ms", 1));
        recent.note(note("plan-snapshot", "no snapshot", 2));
        recent.note(note("plan-sync", "seal in 9 ms", 3));
        let [snapshot, sync] = &recent.notes()[..] else {
            panic!("{:?}", recent.notes())
        };
        assert_eq!((snapshot.times, snapshot.at_ms), (1, 2));
        assert_eq!((sync.times, sync.outcome.as_str()), (2, "seal in 9 ms"));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let recent = Recent::default();
        for n in 0..DECISIONS_MAX as u64 + 5 {
            recent.note(note("plan-snapshot", &n.to_string(), n));
        }
        let notes = recent.notes();
        assert_eq!(notes.len(), DECISIONS_MAX);
        assert_eq!(notes[0].at_ms, 5);
    }
}
