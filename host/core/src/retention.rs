//! What the default policy keeps: Litestream's rules, above what is needed in any case.
//!
//! | level | goes |
//! |---|---|
//! | 9 | older than `snapshot.retention`; the newest of those stays, as the start of the window |
//! | 1 to 8 | ends before that snapshot does; the newest of each level stays |
//! | 0 | older than `l0-retention` and merged into level 1, up to the first that is younger |
//!
//! All of it follows from [`LiveSet`], except that level 0 goes from its old end only: a young file
//! keeps those after it, so that a clock which jumped leaves no holes.

use lockkeeper_ltx::{Level, TxidRange};

use crate::inventory::{Inventory, ReplicaFile};
use crate::live_set::{LiveSet, Window};
use crate::policy::{HeldFile, Keep, RetentionFacts};

/// What a policy is told about the files of a replica.
#[must_use]
pub fn facts(inventory: &Inventory, live: &LiveSet, window: Window, now_ms: u64) -> RetentionFacts {
    let held = |file: &ReplicaFile| HeldFile {
        file: *file,
        need: live.need(file),
    };
    RetentionFacts {
        now_ms,
        window,
        files: inventory.files().iter().map(held).collect(),
    }
}

/// The files to keep. What follows each other and stays for one reason is named together.
#[must_use]
pub fn plan(facts: &RetentionFacts) -> Vec<Keep> {
    let mut keeps = Vec::new();
    let mut behind_young = false;
    for HeldFile { file, need } in &facts.files {
        let is_l0 = file.level == Level::L0;
        behind_young |= is_l0 && facts.window.is_young(file, facts.now_ms);
        let reason = need.map(|need| need.reason());
        let reason = reason.or((is_l0 && behind_young).then_some("follows a young file"));
        if let Some(reason) = reason {
            keep(&mut keeps, file, reason);
        }
    }
    keeps
}

fn keep(keeps: &mut Vec<Keep>, file: &ReplicaFile, reason: &str) {
    let range = file.range();
    // A snapshot is named by its end, so each for itself.
    if let Some(last) = keeps.last_mut()
        && file.level != Level::SNAPSHOT
        && last.level == file.level
        && last.reason == reason
        && last
            .range
            .max()
            .next()
            .is_none_or(|next| range.min() <= next)
        && let Some(joined) = TxidRange::new(last.range.min(), last.range.max().max(range.max()))
    {
        last.range = joined;
        return;
    }
    keeps.push(Keep {
        level: file.level,
        range,
        reason: reason.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::inventory;

    /// Retention of 1000 ms, and 100 ms for level 0, at 10,000 ms; the keeps as
    /// `(level, min, max, reason)`.
    #[track_caller]
    fn check(all: &[(u8, u64, u64, u64)], expected: &[(u8, u64, u64, &str)]) {
        let window = Window {
            snapshot_retention_ms: 1000,
            l0_retention_ms: 100,
        };
        let all = inventory(all);
        let live = LiveSet::new(&all, &window, 10_000).unwrap();
        let keeps = plan(&facts(&all, &live, window, 10_000));
        let found: Vec<_> = keeps
            .iter()
            .map(|it| {
                let (min, max) = (it.range.min().get(), it.range.max().get());
                (it.level.get(), min, max, it.reason.as_str())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn files_that_stay_for_one_reason_are_named_together() {
        let all = [
            (0, 2, 2, 9_800),
            (0, 3, 3, 9_900),
            (0, 4, 4, 9_950),
            (0, 5, 5, 9_960),
            (0, 6, 6, 9_970),
            (1, 2, 5, 9_960),
            (9, 1, 1, 9_000),
        ];
        let keeps = [
            (0, 4, 5, "is younger than l0-retention"),
            (0, 6, 6, "leads to the newest transaction"),
            (1, 2, 5, "leads to the newest transaction"),
            (9, 1, 1, "leads to the newest transaction"),
        ];
        let with_link = [
            &[(0, 2, 3, "closes a hole between other files")],
            &keeps[..],
        ]
        .concat();
        check(&all, &with_link);
        check(&[&all[2..], &[(1, 2, 3, 9_900)]].concat(), &{
            let window = [(1, 2, 3, "restores a point in the window")];
            [&keeps[..2], &window, &keeps[2..]].concat()
        });
    }

    #[test]
    fn no_keep_reaches_across_a_hole() {
        let window = "restores a point in the window";
        check(
            &[
                (1, 2, 3, 9_100),
                (1, 6, 7, 9_300),
                (1, 8, 9, 9_400),
                (9, 1, 1, 9_000),
                (9, 1, 5, 9_200),
                (9, 1, 9, 9_500),
            ],
            &[
                (1, 2, 3, window),
                (1, 6, 7, window),
                (1, 8, 9, "is the newest file of its level"),
                (9, 1, 1, window),
                (9, 1, 5, window),
                (9, 1, 9, "leads to the newest transaction"),
            ],
        );
    }

    #[test]
    fn an_old_file_of_level_0_behind_a_young_one_stays() {
        let all = [
            (0, 2, 2, 9_800),
            (0, 3, 3, 9_950),
            (0, 4, 4, 9_800),
            (0, 5, 5, 9_800),
            (1, 2, 2, 9_800),
            (1, 3, 5, 9_800),
            (9, 1, 1, 9_000),
        ];
        check(
            &all,
            &[
                (0, 3, 3, "is younger than l0-retention"),
                (0, 4, 4, "follows a young file"),
                (0, 5, 5, "is the newest file of its level"),
                (1, 2, 5, "leads to the newest transaction"),
                (9, 1, 1, "leads to the newest transaction"),
            ],
        );
    }
}
