//! When to merge the files of a level into the level above.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::round::Round;

/// A new replica gets its first snapshot at once, and level 1 begins after it. If none has come
/// after this time, level 1 starts with the whole database.
const FIRST_SNAPSHOT_WAIT: u64 = 60 * 60 * 1000;

/// A file of a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct File {
    /// From 0 to 9.
    pub level: u8,
    /// The first transaction in it.
    pub min_txid: u64,
    /// The last transaction in it.
    pub max_txid: u64,
    /// When it was sealed, in milliseconds since the Unix epoch.
    pub created: u64,
}

/// One compaction level.
#[derive(Clone, Debug)]
pub struct Level {
    /// From 1 to 8.
    pub level: u8,
    /// As configured.
    pub interval: u64,
    /// The file of this level that leads furthest.
    pub newest: Option<File>,
    /// Files of the level below that may be merged next, oldest first.
    pub waiting: Vec<File>,
    /// Whether no file will ever continue the last one that waits.
    pub ends_at_gap: bool,
}

/// What [`plan_compaction`] is asked with.
#[derive(Clone, Debug)]
pub struct CompactionFacts {
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// From level 1 on.
    pub levels: Vec<Level>,
    /// The most files one merge may read.
    pub inputs_max: u32,
}

/// One merge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merge {
    /// The level to write.
    pub level: u8,
    /// The first transaction.
    pub min_txid: u64,
    /// The last transaction.
    pub max_txid: u64,
    /// For people.
    pub reason: String,
}

/// The merges of the lowest level that has something to do.
///
/// As in Litestream a level merges once per interval, here what was sealed before the interval
/// began. A level waits for those below, or it would miss their newest files. From level 2 on a
/// single file waits for a second one: the merge would write the same file again.
#[must_use]
pub fn plan_compaction(facts: &CompactionFacts) -> Vec<Merge> {
    let merges = facts.levels.iter().map(|level| plan_level(level, facts));
    merges
        .into_iter()
        .find(|merges| !merges.is_empty())
        .unwrap_or_default()
}

fn plan_level(level: &Level, facts: &CompactionFacts) -> Vec<Merge> {
    let Some(round) = Round::at(facts.now, level.interval) else {
        return Vec::new();
    };
    if level
        .newest
        .is_some_and(|file| round.contains(file.created))
    {
        return Vec::new();
    }
    let all = &level.waiting;
    let ready = all.iter().take_while(|file| !round.contains(file.created));
    let ready: Vec<File> = ready.copied().collect();
    let waits_for_snapshot = |first: &File| {
        first.min_txid == 1 && facts.now.saturating_sub(first.created) < FIRST_SNAPSHOT_WAIT
    };
    if ready.first().is_some_and(waits_for_snapshot) {
        return Vec::new();
    }
    let is_last_before_gap = level.ends_at_gap && ready.len() == all.len();
    let inputs_max = usize::try_from(facts.inputs_max).unwrap_or(usize::MAX);
    ready
        .chunks(inputs_max.max(1))
        .filter(|files| files.len() > 1 || level.level == 1 || is_last_before_gap)
        .filter_map(|files| {
            Some(Merge {
                level: level.level,
                min_txid: files.first()?.min_txid,
                max_txid: files.last()?.max_txid,
                reason: format!("files of the level below that continue it: {}", files.len()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times in seconds after the start of the round of level 1, which began a minute before now.
    fn file(level: u8, txid: u64, created: i64) -> File {
        File {
            level,
            min_txid: txid,
            max_txid: txid,
            created: START.saturating_add_signed(created * 1000),
        }
    }

    /// A whole number of days since the epoch.
    const START: u64 = 1_764_201_600_000;

    fn level(level: u8, waiting: &[File]) -> Level {
        Level {
            level,
            interval: 600_000,
            newest: None,
            waiting: waiting.to_vec(),
            ends_at_gap: false,
        }
    }

    /// The merges as `(level, min, max)`.
    #[track_caller]
    fn check(levels: &[Level], expected: &[(u8, u64, u64)]) {
        let merges = plan_compaction(&CompactionFacts {
            now: START + 60_000,
            levels: levels.to_vec(),
            inputs_max: 3,
        });
        let found: Vec<_> = merges
            .iter()
            .map(|it| (it.level, it.min_txid, it.max_txid))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_level_merges_what_was_sealed_before_its_round() {
        let files = [
            file(0, 2, -9),
            file(0, 3, -1),
            file(0, 4, 0),
            file(0, 5, 60),
        ];
        check(&[level(1, &files)], &[(1, 2, 3)]);
        check(&[level(1, &files[2..])], &[]);
        check(&[level(1, &[])], &[]);
        check(&[level(1, &[file(0, 6, 61)])], &[(1, 6, 6)]);
        let off = Level {
            interval: 0,
            ..level(1, &files)
        };
        check(&[off], &[]);
    }

    #[test]
    fn a_level_that_was_written_in_its_round_is_done() {
        let written = |created| Level {
            newest: Some(file(1, 1, created)),
            ..level(1, &[file(0, 2, -9)])
        };
        check(&[written(0)], &[]);
        check(&[written(-1)], &[(1, 2, 2)]);
        check(&[written(61)], &[(1, 2, 2)]);
    }

    #[test]
    fn a_level_waits_for_the_one_below() {
        let two = level(2, &[file(1, 2, -9), file(1, 3, -8)]);
        check(&[level(1, &[file(0, 4, -7)]), two.clone()], &[(1, 4, 4)]);
        check(&[level(1, &[file(0, 4, 7)]), two], &[(2, 2, 3)]);
    }

    #[test]
    fn a_single_file_is_copied_into_level_1_and_waits_below_the_others() {
        let one = level(2, &[file(1, 2, -9)]);
        check(&[level(1, &[file(0, 2, -9)])], &[(1, 2, 2)]);
        check(std::slice::from_ref(&one), &[]);
        let at_gap = Level {
            ends_at_gap: true,
            ..one
        };
        check(std::slice::from_ref(&at_gap), &[(2, 2, 2)]);
        let more_to_come = Level {
            waiting: vec![file(1, 2, -9), file(1, 3, 9)],
            ..at_gap
        };
        check(&[more_to_come], &[]);
    }

    #[test]
    fn the_whole_database_is_merged_only_if_no_snapshot_comes() {
        check(&[level(1, &[file(0, 1, -9)])], &[]);
        check(&[level(1, &[file(0, 1, -3539)])], &[]);
        check(&[level(1, &[file(0, 1, -3540)])], &[(1, 1, 1)]);
    }

    #[test]
    fn many_files_are_merged_in_several_steps() {
        let files: Vec<_> = (2..6).map(|n| file(0, n, -9)).collect();
        check(&[level(1, &files)], &[(1, 2, 4), (1, 5, 5)]);
        check(&[level(2, &files)], &[(2, 2, 4)]);
    }
}
