//! One decision as a whole: the facts that are given, what is proposed, and what the guard makes of
//! it. For whoever treats all kinds of decision alike: traces, replays, tests of components.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fallback;
use crate::guard::alerts::{AlertDesk, Raised};
use crate::guard::approval::{self, Approval};
use crate::guard::deletions::{Deletions, Review, Situation};
use crate::guard::holds::{Holds, HoldsPause};
use crate::guard::merges::{self, Merge};
use crate::guard::proposals::{self, Guarded};
use crate::inventory::Inventory;
use crate::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Hold,
    HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};

/// The facts of one decision.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facts {
    /// When to seal what waits.
    Sync(SyncFacts),
    /// Whether to copy the log back.
    Checkpoint(CheckpointFacts),
    /// Whether to take a snapshot.
    Snapshot(SnapshotFacts),
    /// Whether to prove the replica.
    Verification(VerificationFacts),
    /// What to merge.
    Compaction(CompactionFacts),
    /// What to keep.
    Retention(RetentionFacts),
    /// Which points in time to hold.
    Holds(HoldFacts),
    /// Whether to let data of a replica take the place of something else.
    Restore(RestoreFacts),
    /// What to tell people of what began or ended.
    Event(Event),
}

/// What a policy proposes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proposal {
    /// How long to wait.
    Sync(SyncProposal),
    /// Which checkpoint to run.
    Checkpoint(CheckpointProposal),
    /// Why to take a snapshot now.
    Snapshot(Option<String>),
    /// Why to prove the replica now.
    Verification(Option<String>),
    /// What to merge, in this order.
    Compaction(Vec<CompactionProposal>),
    /// What to keep; `None` if the answer names no files, as ranges that end before they begin.
    Retention(Option<Vec<Keep>>),
    /// Which points in time to hold.
    Holds(Vec<Hold>),
    /// To go on, or why not.
    Restore(Approval),
    /// What people should read.
    Event(Vec<Alert>),
}

/// What the guard lets happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// How long to wait, in milliseconds.
    Sync(u64),
    /// Which checkpoint to run.
    Checkpoint(CheckpointProposal),
    /// Why a snapshot is taken.
    Snapshot(Option<String>),
    /// Why the replica is proven.
    Verification(Option<String>),
    /// The merges to make.
    Compaction(Vec<Merge>),
    /// The files to delete.
    Retention(Deletions),
    /// The points that are held, or why nothing may be deleted.
    Holds(Result<Holds, HoldsPause>),
    /// Whether to go on; else why not.
    Restore(Approval),
    /// What people are told.
    Event(Vec<Raised>),
    /// The proposal answers another question.
    Nothing,
}

/// A reason code of the guard, and how often it applied.
pub type Clamp = (&'static str, usize);

/// What the guard made of a proposal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// What happens.
    pub outcome: Outcome,
    /// What was changed or refused.
    pub clamps: Vec<Clamp>,
}

impl Facts {
    /// The name of the export that is asked.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sync(_) => "plan-sync",
            Self::Checkpoint(_) => "plan-checkpoint",
            Self::Snapshot(_) => "plan-snapshot",
            Self::Verification(_) => "plan-verification",
            Self::Compaction(_) => "plan-compaction",
            Self::Retention(_) => "plan-retention",
            Self::Holds(_) => "plan-holds",
            Self::Restore(_) => "approve-restore",
            Self::Event(_) => "on-event",
        }
    }

    /// When the decision is made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::Sync(facts) => facts.now_ms,
            Self::Checkpoint(facts) => facts.now_ms,
            Self::Snapshot(facts) => facts.now_ms,
            Self::Verification(facts) => facts.now_ms,
            Self::Compaction(facts) => facts.now_ms,
            Self::Retention(facts) => facts.now_ms,
            Self::Holds(facts) => facts.now_ms,
            Self::Restore(facts) => facts.now_ms,
            Self::Event(event) => event.now_ms,
        }
    }

    /// How many files the facts name: what they cost to keep and to pass on.
    #[must_use]
    pub fn files(&self) -> usize {
        match self {
            Self::Sync(_)
            | Self::Checkpoint(_)
            | Self::Verification(_)
            | Self::Restore(_)
            | Self::Event(_) => 0,
            Self::Holds(facts) => facts.snapshots.len(),
            Self::Snapshot(facts) => facts.snapshots.len(),
            Self::Compaction(facts) => {
                let waiting = facts.levels.iter().map(|level| level.waiting.files.len());
                waiting.fold(0, usize::saturating_add)
            }
            Self::Retention(facts) => facts.files.len(),
        }
    }

    /// What the built-in rules propose: nothing is held, and nobody is kept from going on.
    #[must_use]
    pub fn fallback(&self) -> Proposal {
        match self {
            Self::Sync(facts) => Proposal::Sync(fallback::plan_sync(facts)),
            Self::Checkpoint(facts) => Proposal::Checkpoint(fallback::plan_checkpoint(facts)),
            Self::Snapshot(facts) => {
                Proposal::Snapshot(fallback::plan_snapshot(facts).map(str::to_owned))
            }
            Self::Verification(facts) => {
                Proposal::Verification(fallback::plan_verification(facts).map(str::to_owned))
            }
            Self::Compaction(facts) => Proposal::Compaction(fallback::plan_compaction(facts)),
            Self::Retention(facts) => Proposal::Retention(Some(fallback::plan_retention(facts))),
            Self::Holds(_) => Proposal::Holds(Vec::new()),
            Self::Restore(_) => Proposal::Restore(Ok(())),
            Self::Event(event) => Proposal::Event(fallback::on_event(event)),
        }
    }
}

/// Holds a proposal against its facts, as the host does before it acts.
///
/// # Example
///
/// ```
/// use lockkeeper_core::decision::{Facts, Proposal, judge};
/// use lockkeeper_core::policy::{SyncFacts, SyncProposal};
///
/// let facts = Facts::Sync(SyncFacts {
///     sync_interval_ms: 1000,
///     ..SyncFacts::default()
/// });
/// let judged = judge(&facts, &Proposal::Sync(SyncProposal { wait_ms: 3_600_000 }));
/// assert_eq!(judged.clamps, [("sync-too-late", 1)]);
/// println!("{}: {}", facts.name(), judged.outcome);
/// ```
#[must_use]
pub fn judge(facts: &Facts, proposal: &Proposal) -> Judged {
    match (facts, proposal) {
        (Facts::Sync(facts), Proposal::Sync(proposal)) => {
            judged(proposals::sync(facts, *proposal), |decision| {
                Outcome::Sync(decision.wait_ms)
            })
        }
        (Facts::Checkpoint(facts), Proposal::Checkpoint(proposal)) => {
            judged(proposals::checkpoint(facts, *proposal), Outcome::Checkpoint)
        }
        (Facts::Snapshot(facts), Proposal::Snapshot(reason)) => judged(
            proposals::snapshot(facts, reason.as_deref()),
            Outcome::Snapshot,
        ),
        (Facts::Verification(facts), Proposal::Verification(reason)) => judged(
            proposals::verification(facts, reason.as_deref()),
            Outcome::Verification,
        ),
        (Facts::Compaction(facts), Proposal::Compaction(proposed)) => {
            let found = merges::accept(facts, proposed);
            let refused = found.refused.into_iter();
            Judged {
                clamps: refused.map(|(why, count)| (why.code(), count)).collect(),
                outcome: Outcome::Compaction(found.accepted),
            }
        }
        (Facts::Retention(facts), Proposal::Retention(keeps)) => judge_keeps(facts, keeps),
        (Facts::Holds(_), Proposal::Holds(holds)) => judge_holds(holds),
        (Facts::Restore(facts), Proposal::Restore(answer)) => {
            judged(approval::approval(facts, answer.clone()), Outcome::Restore)
        }
        (Facts::Event(event), Proposal::Event(alerts)) => judge_alerts(event, alerts),
        _ => Judged {
            outcome: Outcome::Nothing,
            clamps: vec![("other-question", 1)],
        },
    }
}

fn judged<T>(guarded: Guarded<T>, outcome: impl FnOnce(T) -> Outcome) -> Judged {
    Judged {
        outcome: outcome(guarded.decision),
        clamps: guarded
            .clamp
            .map(|clamp| (clamp.code(), 1))
            .into_iter()
            .collect(),
    }
}

fn judge_holds(holds: &[Hold]) -> Judged {
    let accepted = Holds::accept(Some(holds.to_vec()));
    let pause = accepted.as_ref().err();
    Judged {
        clamps: pause.map(|pause| (pause.code(), 1)).into_iter().collect(),
        outcome: Outcome::Holds(accepted),
    }
}

/// As if this event was the first: a record does not say which alerts are still swallowed.
fn judge_alerts(event: &Event, alerts: &[Alert]) -> Judged {
    let admitted = AlertDesk::default().admit(event, alerts.to_vec());
    let refused = admitted.refused.into_iter();
    Judged {
        clamps: refused.map(|why| (why.code(), 1)).collect(),
        outcome: Outcome::Event(admitted.raised),
    }
}

/// The facts are what a [`Review`] gave, so that a review can be made of them.
fn judge_keeps(facts: &RetentionFacts, keeps: &Option<Vec<Keep>>) -> Judged {
    let Some(keeps) = keeps else {
        return Judged {
            outcome: Outcome::Retention(Deletions::default()),
            clamps: vec![("unreadable-keep", 1)],
        };
    };
    let inventory = Inventory::new(facts.files.iter().map(|held| held.file).collect());
    let review = Review::new(Situation {
        inventory: &inventory,
        now_ms: facts.now_ms,
        window: facts.window,
        enabled: true,
        verification_failed: false,
    });
    match review {
        Ok(review) => {
            let mut deletions = review.decide(keeps);
            let held = facts
                .files
                .iter()
                .filter_map(|it| Some((it.file, it.need?)));
            // What is held for a point in time shows in the facts alone.
            for (file, need) in held {
                let before = deletions.files.len();
                deletions.files.retain(|deleted| *deleted != file);
                if deletions.files.len() < before {
                    *deletions.refused.entry(need).or_default() += 1;
                }
            }
            let refused = deletions.refused.iter();
            Judged {
                clamps: refused.map(|(need, count)| (need.code(), *count)).collect(),
                outcome: Outcome::Retention(deletions),
            }
        }
        Err(pause) => Judged {
            outcome: Outcome::Retention(Deletions::default()),
            clamps: vec![(pause.code(), 1)],
        },
    }
}

/// For people, and without what differs from one moment to the next where that says nothing.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync(0) => f.write_str("seal now"),
            Self::Sync(wait_ms) => write!(f, "seal in {wait_ms} ms"),
            Self::Checkpoint(CheckpointProposal::None) => f.write_str("no checkpoint"),
            Self::Checkpoint(CheckpointProposal::Passive) => f.write_str("passive checkpoint"),
            Self::Checkpoint(CheckpointProposal::Truncate) => f.write_str("truncating checkpoint"),
            Self::Snapshot(None) => f.write_str("no snapshot"),
            Self::Snapshot(Some(reason)) => write!(f, "snapshot: {reason}"),
            Self::Verification(None) => f.write_str("no verification"),
            Self::Verification(Some(reason)) => write!(f, "verification: {reason}"),
            Self::Compaction(merges) => match merges.as_slice() {
                [] => f.write_str("no merge"),
                [first, ..] => write!(
                    f,
                    "{} merges, the first of {} files into level {}",
                    merges.len(),
                    first.inputs().len(),
                    first.level()
                ),
            },
            Self::Retention(deletions) => {
                write!(f, "delete {} files", deletions.files.len())
            }
            Self::Holds(Ok(holds)) => write!(f, "{} points are held", holds.len()),
            Self::Holds(Err(pause)) => write!(f, "nothing is deleted: {pause}"),
            Self::Restore(Ok(())) => f.write_str("go on"),
            Self::Restore(Err(reason)) => write!(f, "do not go on: {reason}"),
            Self::Event(raised) => match raised.as_slice() {
                [] => f.write_str("no alert"),
                [alert] => write!(f, "alert: {}", alert.code),
                [first, ..] => write!(f, "{} alerts, the first: {}", raised.len(), first.code),
            },
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::{inventory, range};
    use crate::levels::Levels;
    use crate::live_set::{LiveSet, Window};
    use crate::policy::Severity;
    use crate::{compaction, retention};

    fn all() -> Vec<Facts> {
        let files = inventory(&[
            (9, 1, 1, 1_000),
            (0, 2, 2, 1_500),
            (0, 3, 3, 1_600),
            (9, 1, 3, 1_700),
        ]);
        let window = Window {
            snapshot_retention_ms: 1_000,
            l0_retention_ms: 0,
        };
        let live = LiveSet::new(&files, &window, 3_000).unwrap();
        vec![
            Facts::Sync(SyncFacts {
                sync_interval_ms: 1000,
                ..SyncFacts::default()
            }),
            Facts::Checkpoint(CheckpointFacts::default()),
            Facts::Snapshot(SnapshotFacts {
                durable: 3,
                snapshots: files.files().to_vec(),
                ..SnapshotFacts::default()
            }),
            Facts::Verification(VerificationFacts::default()),
            Facts::Compaction(compaction::facts(
                &files,
                &Levels::new(&[1_000]).unwrap(),
                3_000,
            )),
            Facts::Holds(HoldFacts::default()),
            Facts::Restore(RestoreFacts::default()),
            Facts::Event(Event {
                code: "log-held".into(),
                begins: true,
                severity: Severity::Error,
                ..Event::default()
            }),
            Facts::Retention(retention::facts(&files, &live, window, 3_000)),
        ]
    }

    #[test]
    fn what_the_built_in_rules_propose_passes_the_guard_unchanged() {
        for facts in all() {
            let judged = judge(&facts, &facts.fallback());
            assert_eq!(judged.clamps, [], "{facts:?}");
            assert!(judged.outcome != Outcome::Nothing, "{facts:?}");
        }
    }

    #[test]
    fn facts_and_proposals_come_back_from_what_is_written() {
        for facts in all() {
            let text = serde_json::to_string(&facts).unwrap();
            assert_eq!(
                serde_json::from_str::<Facts>(&text).unwrap(),
                facts,
                "{text}"
            );
            let proposal = facts.fallback();
            let text = serde_json::to_string(&proposal).unwrap();
            assert_eq!(serde_json::from_str::<Proposal>(&text).unwrap(), proposal);
        }
    }

    #[test]
    fn facts_of_another_host_have_defaults_where_they_say_nothing_and_nothing_that_is_unknown() {
        let facts: Facts = serde_json::from_str(r#"{"sync":{"waiters":2,"spooled":7}}"#).unwrap();
        let expected = SyncFacts {
            spooled: 7,
            ..SyncFacts::default()
        };
        assert_eq!(facts, Facts::Sync(expected));
    }

    #[test]
    fn keeping_nothing_is_refused_file_by_file_as_in_the_host() {
        let facts = all().pop().unwrap();
        let judged = judge(&facts, &Proposal::Retention(Some(Vec::new())));
        let refused: usize = judged.clamps.iter().map(|(_, count)| count).sum();
        let Outcome::Retention(deletions) = judged.outcome else {
            panic!("{:?}", judged.outcome)
        };
        assert_eq!(deletions.files.len() + refused, 4);
        assert!(deletions.files.len() < 4 && refused > 0);
        let unreadable = judge(&facts, &Proposal::Retention(None));
        assert_eq!(unreadable.clamps, [("unreadable-keep", 1)]);
    }

    #[test]
    fn an_answer_to_another_question_does_nothing() {
        let [sync, checkpoint, ..] = &all()[..] else {
            panic!()
        };
        let judged = judge(sync, &checkpoint.fallback());
        assert_eq!(judged.outcome, Outcome::Nothing);
        let keep = Keep {
            level: lockkeeper_ltx::Level::L0,
            range: range(1, 1),
            reason: String::new(),
        };
        let judged = judge(checkpoint, &Proposal::Retention(Some(vec![keep])));
        assert_eq!(judged.clamps, [("other-question", 1)]);
    }
}
