//! When the files of a level are merged into the level above.
//!
//! Each level has its turn once per interval ([`crate::levels`]). It merges what waits for it
//! ([`crate::waiting`]) and was sealed before its round began, so that merged files end at the same
//! times whenever the host gets to it. A level has nothing to do
//!
//! - while its newest file was created in the running round: Litestream, or an earlier call, did
//!   it;
//! - while a level below has something to do: it would miss the newest files of its round;
//! - from level 2 on, while a single file waits: the merged file would be the same file once more.
//!   In level 1 a single file is written again, because files of level 0 do not last
//!   (`docs/adr/0005-single-input-merges.md`).
//!
//! Merging deletes nothing. Sources go when retention finds that they are not needed any more,
//! which takes a listing that shows the merged file.

use lockkeeper_ltx::{Level, Txid, TxidRange};

use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::{Levels, Round};
use crate::policy::{CompactionFacts, CompactionProposal, LevelFacts};
use crate::waiting::waiting;

/// Each input of a merge is an open download with a buffer for one page; this many fit any limit
/// on descriptors and connections. More files are merged into several outputs.
pub const MERGE_INPUTS_MAX: usize = 256;

/// A new replica gets its first snapshot at once, and level 1 begins after it. If none has come
/// after this time, snapshots are in trouble, and level 1 starts with the whole database instead of
/// letting level 0 grow.
pub const FIRST_SNAPSHOT_WAIT_MS: u64 = 60 * 60 * 1000;

/// What a policy is told about the levels of a replica, with nothing left in the budget.
#[must_use]
pub fn facts(inventory: &Inventory, levels: &Levels, now_ms: u64) -> CompactionFacts {
    let facts = |(level, interval_ms)| LevelFacts {
        level,
        interval_ms,
        newest: inventory.newest(level).copied(),
        waiting: waiting(inventory, level),
    };
    CompactionFacts {
        now_ms,
        levels: levels.iter().map(facts).collect(),
        budget_left: 0,
    }
}

/// The merges of the lowest level that has something to do. To be asked again, with a fresh
/// listing, once they are done, until none are left.
///
/// # Example
///
/// ```
/// use lockkeeper_core::compaction::{facts, plan};
/// use lockkeeper_core::guard::merges;
/// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
/// use lockkeeper_core::levels::Levels;
/// use lockkeeper_ltx::Level;
///
/// # let file = |level: u8, name: &str| ReplicaFile {
/// #     level: Level::new(level).expect("a level"),
/// #     name: name.parse().expect("a name"),
/// #     size: 1000,
/// #     created_ms: 0,
/// # };
/// let inventory = Inventory::new(vec![
///     file(9, "0000000000000001-0000000000000001.ltx"),
///     file(0, "0000000000000001-0000000000000001.ltx"),
///     file(0, "0000000000000002-0000000000000002.ltx"),
/// ]);
/// let facts = facts(&inventory, &Levels::default(), 3_600_000);
/// let accepted = merges::accept(&facts, &plan(&facts)).accepted;
/// let merge = &accepted[0];
/// assert_eq!((merge.level().get(), merge.inputs().len()), (1, 1)); // a snapshot has the other
/// assert_eq!(merge.range().min().get(), 2);
/// assert_eq!(merge.first(1).as_ref(), Some(merge));
///
/// // A snapshot can be made of what the replica has.
/// let snapshot = merges::Merge::snapshot(&inventory).expect("there is more than one file");
/// assert_eq!(snapshot.level(), Level::SNAPSHOT);
/// ```
#[must_use]
pub fn plan(facts: &CompactionFacts) -> Vec<CompactionProposal> {
    let merges = facts
        .levels
        .iter()
        .map(|level| plan_level(level, facts.now_ms));
    merges
        .into_iter()
        .find(|merges| !merges.is_empty())
        .unwrap_or_default()
}

fn plan_level(facts: &LevelFacts, now_ms: u64) -> Vec<CompactionProposal> {
    let round = Round::at(now_ms, facts.interval_ms);
    let is_early = |file: &ReplicaFile| round.contains(file.created_unix_ms());
    if facts.newest.as_ref().is_some_and(is_early) {
        return Vec::new();
    }
    let all = &facts.waiting.files;
    let ready = all.iter().position(is_early).unwrap_or(all.len());
    let ready = all.get(..ready).unwrap_or_default();
    if ready
        .first()
        .is_some_and(|first| waits_for_snapshot(first, now_ms))
    {
        return Vec::new();
    }
    let is_last_before_gap = facts.waiting.gap.is_some() && ready.len() == all.len();
    ready
        .chunks(MERGE_INPUTS_MAX)
        .filter(|files| files.len() > 1 || facts.level.get() == 1 || is_last_before_gap)
        .filter_map(|files| propose(facts.level, files))
        .collect()
}

/// A merge from the first transaction on would upload the whole database.
fn waits_for_snapshot(first: &ReplicaFile, now_ms: u64) -> bool {
    first.range().min() == Txid::FIRST && first.age_ms(now_ms) < FIRST_SNAPSHOT_WAIT_MS
}

fn propose(level: Level, files: &[ReplicaFile]) -> Option<CompactionProposal> {
    let range = TxidRange::new(files.first()?.range().min(), files.last()?.range().max())?;
    let reason = match files.len() {
        1 => "one file of the level below continues it".to_owned(),
        count => format!("{count} files of the level below continue it"),
    };
    Some(CompactionProposal {
        level,
        range,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::inventory;

    /// The default levels at 10:07:31 on some day, with times in seconds since 10:00:00; the merges
    /// as `(level, min, max)`.
    #[track_caller]
    fn check(all: &[(u8, u64, u64, u64)], expected: &[(u8, u64, u64)]) {
        const TEN: u64 = 1_764_237_600_000;
        let all: Vec<_> = all
            .iter()
            .map(|&(level, min, max, s)| (level, min, max, TEN + s * 1000))
            .collect();
        let facts = facts(&inventory(&all), &Levels::default(), TEN + 451_000);
        let found: Vec<_> = plan(&facts)
            .iter()
            .map(|it| (it.level.get(), it.range.min().get(), it.range.max().get()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_level_merges_what_was_sealed_before_its_round() {
        let all = [(9, 1, 1, 0), (0, 2, 2, 430), (0, 3, 3, 449), (0, 4, 4, 450)];
        check(&all, &[(1, 2, 3)]);
        check(&all[..1], &[]);
    }

    #[test]
    fn a_level_that_was_written_in_its_round_is_done() {
        let all = [(9, 1, 1, 0), (0, 3, 3, 440), (1, 2, 2, 450)];
        check(&all, &[]);
        check(
            &[(9, 1, 1, 0), (0, 3, 3, 440), (1, 2, 2, 449)],
            &[(1, 3, 3)],
        );
    }

    #[test]
    fn files_from_the_future_hold_nothing_up() {
        let all = [(9, 1, 1, 0), (1, 2, 2, 900), (0, 3, 3, 901), (0, 4, 4, 440)];
        check(&all, &[(1, 3, 4)]);
    }

    #[test]
    fn a_level_waits_for_the_one_below() {
        let two = [(9, 1, 1, 0), (1, 2, 2, 29), (1, 3, 3, 59)];
        check(&two, &[(2, 2, 3)]);
        let below = [&two[..], &[(0, 4, 4, 70)]].concat();
        check(&below, &[(1, 4, 4)]);
        let early = [&two[..], &[(0, 4, 4, 451)]].concat();
        check(&early, &[(2, 2, 3)]);
    }

    #[test]
    fn a_single_file_is_copied_into_level_1_and_waits_below_the_others() {
        check(&[(9, 1, 1, 0), (0, 2, 2, 5)], &[(1, 2, 2)]);
        check(&[(9, 1, 1, 0), (0, 2, 2, 5), (1, 2, 2, 5)], &[]);
        check(&[(9, 1, 1, 0), (1, 2, 2, 5), (1, 4, 4, 9)], &[(2, 2, 2)]);
        let more_to_come = [(9, 1, 1, 0), (1, 2, 2, 5), (1, 3, 3, 310), (1, 5, 5, 320)];
        check(&more_to_come, &[]);
    }

    #[test]
    fn nothing_is_merged_across_a_hole() {
        check(
            &[(9, 1, 1, 0), (0, 2, 2, 5), (0, 3, 3, 5), (0, 5, 5, 5)],
            &[(1, 2, 3)],
        );
    }

    #[test]
    fn the_whole_database_is_merged_only_if_no_snapshot_comes() {
        check(&[(0, 1, 1, 0), (0, 2, 2, 5)], &[]);
        let files = inventory(&[(0, 1, 1, 1), (0, 2, 2, 1)]);
        let at = |now_ms| plan(&facts(&files, &Levels::default(), now_ms)).len();
        assert_eq!(at(FIRST_SNAPSHOT_WAIT_MS), 0);
        assert_eq!(at(FIRST_SNAPSHOT_WAIT_MS + 1), 1);
    }

    #[test]
    fn many_files_are_merged_in_several_steps() {
        let inputs = MERGE_INPUTS_MAX as u64;
        let mut all: Vec<_> = (2..inputs * 2 + 3).map(|n| (0, n, n, 1)).collect();
        all.push((9, 1, 1, 0));
        let steps = [
            (1, 2, inputs + 1),
            (1, inputs + 2, inputs * 2 + 1),
            (1, inputs * 2 + 2, inputs * 2 + 2),
        ];
        check(&all, &steps);
    }

    #[test]
    fn a_replica_without_levels_merges_nothing() {
        let files = inventory(&[(9, 1, 1, 0), (0, 2, 2, 0)]);
        let facts = facts(&files, &Levels::new(&[]).unwrap(), u64::MAX / 2);
        assert_eq!(plan(&facts), []);
    }
}
