//! A candidate that answers beside the current component, without effect.

use std::ops::ControlFlow;

use lockkeeper_core::decision::{Proposal, judge};
use tokio::sync::oneshot;

use super::component::Component;
use super::observer::Decided;
use super::question;
use super::served::Answered;

/// How a candidate did beside the current component.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shadowed {
    /// Decisions that it was asked for.
    pub decisions: u32,
    /// How many of them it would have made differently, before the guard.
    pub differed: u32,
    /// In how many of them the guard would have changed something.
    pub clamped: u32,
}

/// What comes of it: the numbers, or why the candidate gave no answer. Dropped before, it was ended
/// from outside.
type Report = Result<Shadowed, String>;

/// A candidate and what it answered so far.
pub(super) struct Shadow {
    candidate: Component,
    wanted: u32,
    so_far: Shadowed,
    report: Option<oneshot::Sender<Report>>,
}

impl Shadow {
    /// Wants to be asked `wanted` decisions.
    pub(super) fn new(candidate: Component, wanted: u32) -> (Self, oneshot::Receiver<Report>) {
        let (report, reported) = oneshot::channel();
        let shadow = Self {
            candidate,
            wanted,
            so_far: Shadowed::default(),
            report: Some(report),
        };
        (shadow, reported)
    }

    /// Asks the candidate what was decided; breaks when nothing more is to be asked. Must run where
    /// blocking is allowed.
    pub(super) fn look(&mut self, decided: &Decided) -> ControlFlow<()> {
        let (answer, _) = question::ask(&self.candidate, &decided.facts);
        let proposal = match answer {
            Ok(proposal) => proposal,
            Err(why) => {
                self.conclude(Err(format!("asked {}: {why}", decided.facts.name())));
                return ControlFlow::Break(());
            }
        };
        self.count(decided, &proposal);
        if self.so_far.decisions >= self.wanted {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn count(&mut self, decided: &Decided, proposal: &Proposal) {
        self.so_far.decisions += 1;
        let is_same = match &decided.answer {
            Answered::Proposed(current) => current == proposal,
            Answered::Failed(_) | Answered::NotAsked => decided.facts.fallback() == *proposal,
        };
        self.so_far.differed += u32::from(!is_same);
        let clamps = judge(&decided.facts, proposal).clamps;
        self.so_far.clamped += u32::from(!clamps.is_empty());
    }

    fn conclude(&mut self, report: Report) {
        if let Some(waiting) = self.report.take() {
            // Whoever asked may have given up.
            let _ = waiting.send(report);
        }
    }
}

/// Tells how far it came.
impl Drop for Shadow {
    fn drop(&mut self) {
        let so_far = std::mem::take(&mut self.so_far);
        self.conclude(Ok(so_far));
    }
}
