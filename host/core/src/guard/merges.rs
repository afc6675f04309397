//! Holds proposed merges against what waits.

use std::collections::BTreeMap;

use lockkeeper_ltx::{Level, Txid, TxidRange};

use super::budget;
use crate::compaction::MERGE_INPUTS_MAX;
use crate::inventory::{Inventory, ReplicaFile};
use crate::policy::{CompactionFacts, CompactionProposal, LevelFacts};
use crate::restore::{self, Target};

/// At most this many merges come from one answer: enough for everything that can wait for one
/// level, see [`crate::waiting::WAITING_MAX`].
pub const MERGES_MAX: usize = 32;

/// A merge that may be made: its inputs wait for its level and leave nothing out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merge {
    level: Level,
    range: TxidRange,
    inputs: Vec<ReplicaFile>,
}

impl Merge {
    /// A new snapshot from files that the replica has: its newest snapshot, or whatever starts the
    /// database, and what continues it. `None` if nothing does, or the replica has a hole before
    /// its end: a snapshot must be taken from the database then.
    ///
    /// At most [`MERGE_INPUTS_MAX`] files are taken; what is left over waits for the next.
    #[must_use]
    pub fn snapshot(inventory: &Inventory) -> Option<Self> {
        let plan = restore::plan(inventory.files(), Target::Latest).ok()?;
        let files = plan.files().iter().copied();
        let inputs: Vec<ReplicaFile> = files.take(MERGE_INPUTS_MAX).collect();
        let last = inputs.last().filter(|_| inputs.len() > 1)?.range().max();
        Some(Self {
            level: Level::SNAPSHOT,
            range: TxidRange::new(Txid::FIRST, last)?,
            inputs,
        })
    }

    /// The level to write: from 1 to 8, or that of snapshots.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What the merged file covers.
    #[must_use]
    pub fn range(&self) -> TxidRange {
        self.range
    }

    /// The files to read, oldest first; from 1 to [`MERGE_INPUTS_MAX`]. For levels 1 to 8 all are
    /// of the level below.
    #[must_use]
    pub fn inputs(&self) -> &[ReplicaFile] {
        &self.inputs
    }

    /// The merge of the first `count` inputs; `None` if there are not so many, or none.
    #[must_use]
    pub fn first(&self, count: usize) -> Option<Self> {
        let inputs = self.inputs.get(..count)?.to_vec();
        let range = TxidRange::new(self.range.min(), inputs.last()?.range().max())?;
        Some(Self {
            level: self.level,
            range,
            inputs,
        })
    }
}

/// Why a merge is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum MergeRefusal {
    /// No such level is configured.
    NoSuchLevel,
    /// It does not begin with the file that waits longest: transactions would be left out.
    NotNext,
    /// It does not end where a waiting file ends.
    NoSuchEnd,
    /// It has more than [`MERGE_INPUTS_MAX`] inputs.
    TooManyInputs,
    /// It comes after [`MERGES_MAX`] others.
    TooManyMerges,
    /// The [budget] is used up.
    OverBudget,
}

impl MergeRefusal {
    /// A stable name for logs and counters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSuchLevel => "no-such-level",
            Self::NotNext => "not-next",
            Self::NoSuchEnd => "no-such-end",
            Self::TooManyInputs => "too-many-inputs",
            Self::TooManyMerges => "too-many-merges",
            Self::OverBudget => "over-budget",
        }
    }
}

/// What became of the proposed merges.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Merges {
    /// To be made, in this order.
    pub accepted: Vec<Merge>,
    /// How many were refused, and why.
    pub refused: BTreeMap<MergeRefusal, usize>,
    /// What the accepted ones cost of the [budget].
    pub cost: u32,
}

/// Accepts the proposals that take what waits, in order. Several for one level continue each other.
#[must_use]
pub fn accept(facts: &CompactionFacts, proposals: &[CompactionProposal]) -> Merges {
    let mut merges = Merges::default();
    let levels = facts.levels.iter();
    let mut left: BTreeMap<Level, Left<'_>> = levels
        .map(|level| (level.level, Left::new(level)))
        .collect();
    for proposal in proposals {
        let checked = if merges.accepted.len() < MERGES_MAX {
            left.get_mut(&proposal.level)
                .ok_or(MergeRefusal::NoSuchLevel)
                .and_then(|left| left.merge(proposal.range))
        } else {
            Err(MergeRefusal::TooManyMerges)
        };
        let paid = checked.and_then(|(merge, level)| {
            let cost = merges
                .cost
                .saturating_add(budget::of_merge(level, facts.now_ms, &merge));
            let is_over = cost > merges.cost && cost > facts.budget_left;
            (!is_over)
                .then_some((merge, cost))
                .ok_or(MergeRefusal::OverBudget)
        });
        match paid {
            Ok((merge, cost)) => {
                merges.accepted.push(merge);
                merges.cost = cost;
            }
            Err(refusal) => *merges.refused.entry(refusal).or_default() += 1,
        }
    }
    merges
}

/// What still waits for a level.
struct Left<'a> {
    level: &'a LevelFacts,
    waiting: &'a [ReplicaFile],
}

impl<'a> Left<'a> {
    fn new(level: &'a LevelFacts) -> Self {
        Self {
            level,
            waiting: &level.waiting.files,
        }
    }

    fn merge(&mut self, range: TxidRange) -> Result<(Merge, &'a LevelFacts), MergeRefusal> {
        let inputs = take(&mut self.waiting, range)?.to_vec();
        let merge = Merge {
            level: self.level.level,
            range,
            inputs,
        };
        Ok((merge, self.level))
    }
}

/// Takes the files that make up `range` from the front of what waits.
fn take<'a>(
    waiting: &mut &'a [ReplicaFile],
    range: TxidRange,
) -> Result<&'a [ReplicaFile], MergeRefusal> {
    let first = waiting.first().ok_or(MergeRefusal::NotNext)?;
    if first.range().min() != range.min() {
        return Err(MergeRefusal::NotNext);
    }
    let count = waiting
        .iter()
        .position(|file| file.range().max() == range.max())
        .ok_or(MergeRefusal::NoSuchEnd)?
        .saturating_add(1);
    if count > MERGE_INPUTS_MAX {
        return Err(MergeRefusal::TooManyInputs);
    }
    let (inputs, rest) = waiting
        .split_at_checked(count)
        .ok_or(MergeRefusal::NoSuchEnd)?;
    *waiting = rest;
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction;
    use crate::inventory::testing::{inventory, level, range};
    use crate::levels::Levels;

    #[track_caller]
    fn check_snapshot(files: &[(u8, u64, u64)], expected: Option<(usize, u64)>) {
        let files: Vec<_> = files
            .iter()
            .map(|&(n, min, max)| (n, min, max, 0))
            .collect();
        let merge = Merge::snapshot(&inventory(&files));
        let found = merge
            .as_ref()
            .map(|it| (it.inputs().len(), it.range().max().get()));
        assert_eq!(found, expected);
        assert!(merge.is_none_or(|it| it.level() == Level::SNAPSHOT && it.range().is_snapshot()));
    }

    #[test]
    fn a_snapshot_is_made_of_what_a_restore_would_read() {
        check_snapshot(&[(9, 1, 4), (0, 4, 4), (1, 2, 6), (0, 7, 7)], Some((3, 7)));
        check_snapshot(&[(0, 1, 1), (0, 2, 2)], Some((2, 2)));
        let many: Vec<_> = (1..=MERGE_INPUTS_MAX as u64 + 9)
            .map(|n| (0, n, n))
            .collect();
        check_snapshot(&many, Some((MERGE_INPUTS_MAX, MERGE_INPUTS_MAX as u64)));
    }

    #[test]
    fn no_snapshot_is_made_of_nothing_new_or_across_a_hole() {
        check_snapshot(&[(9, 1, 4)], None);
        check_snapshot(&[(9, 1, 4), (0, 4, 4)], None);
        check_snapshot(&[(9, 1, 4), (0, 6, 6)], None);
        check_snapshot(&[(0, 2, 2), (0, 3, 3)], None);
    }

    /// With a budget for whatever is asked for.
    fn rich(all: &[(u8, u64, u64, u64)]) -> CompactionFacts {
        CompactionFacts {
            budget_left: u32::MAX,
            ..compaction::facts(&inventory(all), &Levels::default(), 99)
        }
    }

    #[test]
    fn without_a_budget_only_the_merge_of_the_round_is_made() {
        // The round began at 90,000 ms; the file of TXID 5 came in it.
        let all = [
            (9, 1, 1, 0),
            (0, 2, 2, 1),
            (0, 3, 3, 2),
            (0, 4, 4, 3),
            (0, 5, 5, 95_000),
        ];
        let poor = compaction::facts(&inventory(&all), &Levels::default(), 99_000);
        let check = |budget_left, asked: &[(u8, u64, u64)], made: &[u64], cost| {
            let facts = CompactionFacts {
                budget_left,
                ..poor.clone()
            };
            let proposals: Vec<_> = asked.iter().copied().map(proposal).collect();
            let found = accept(&facts, &proposals);
            let ends = found.accepted.iter().map(|it| it.range().max().get());
            assert_eq!(ends.collect::<Vec<_>>(), made);
            assert_eq!(found.cost, cost);
            let over = found.refused.contains_key(&MergeRefusal::OverBudget);
            assert_eq!(over, made.len() < asked.len());
        };
        check(0, &[(1, 2, 4)], &[4], 0);
        check(0, &[(1, 2, 5)], &[], 0);
        check(0, &[(1, 2, 3)], &[], 0);
        check(1, &[(1, 2, 3)], &[3], 1);
        check(1, &[(1, 2, 2), (1, 3, 3)], &[2], 1);
        check(1, &[(1, 2, 2), (1, 3, 4)], &[2, 4], 1);
    }

    const FILES: [(u8, u64, u64, u64); 5] = [
        (9, 1, 1, 0),
        (0, 2, 2, 0),
        (0, 3, 3, 0),
        (0, 4, 4, 0),
        (0, 6, 6, 0),
    ];

    fn proposal((n, min, max): (u8, u64, u64)) -> CompactionProposal {
        CompactionProposal {
            level: level(n),
            range: range(min, max),
            reason: String::new(),
        }
    }

    #[track_caller]
    fn check(proposals: &[(u8, u64, u64)], accepted: &[usize], refused: &[MergeRefusal]) {
        let facts = rich(&FILES);
        let proposals: Vec<_> = proposals.iter().copied().map(proposal).collect();
        let found = accept(&facts, &proposals);
        let inputs: Vec<_> = found.accepted.iter().map(|it| it.inputs().len()).collect();
        assert_eq!(inputs, accepted);
        assert_eq!(found.refused.into_keys().collect::<Vec<_>>(), refused);
    }

    #[test]
    fn merges_take_what_waits_in_order() {
        check(&[(1, 2, 4)], &[3], &[]);
        check(&[(1, 2, 3), (1, 4, 4)], &[2, 1], &[]);
        check(&[], &[], &[]);
    }

    #[test]
    fn merges_that_leave_transactions_out_are_refused() {
        check(&[(1, 3, 4)], &[], &[MergeRefusal::NotNext]);
        check(&[(1, 2, 2), (1, 4, 4)], &[1], &[MergeRefusal::NotNext]);
        check(&[(1, 2, 4), (1, 5, 6)], &[3], &[MergeRefusal::NotNext]);
        check(&[(1, 2, 6)], &[], &[MergeRefusal::NoSuchEnd]);
        check(&[(1, 2, 5)], &[], &[MergeRefusal::NoSuchEnd]);
    }

    #[test]
    fn merges_into_other_levels_are_refused() {
        for n in [0, 4, 9] {
            check(&[(n, 2, 4)], &[], &[MergeRefusal::NoSuchLevel]);
        }
        check(&[(2, 2, 4)], &[], &[MergeRefusal::NotNext]);
    }

    #[test]
    fn merges_and_their_inputs_are_bounded() {
        let many = MERGE_INPUTS_MAX.max(MERGES_MAX) as u64 + 2;
        let mut all: Vec<_> = (2..=many).map(|n| (0, n, n, 0)).collect();
        all.push((9, 1, 1, 0));
        let facts = rich(&all);
        let found = accept(&facts, &[proposal((1, 2, many))]);
        assert_eq!(found.accepted, []);
        assert_eq!(found.refused[&MergeRefusal::TooManyInputs], 1);

        let singles: Vec<_> = (2..=many).map(|n| proposal((1, n, n))).collect();
        let found = accept(&facts, &singles);
        assert_eq!(found.accepted.len(), MERGES_MAX);
        let left = singles.len() - MERGES_MAX;
        assert_eq!(found.refused[&MergeRefusal::TooManyMerges], left);
    }
}
