//! Which files a level may merge next.
//!
//! # Where a level begins
//!
//! Level *n* goes on where its newest file ends. An empty level could begin at the first
//! transaction, as Litestream's does; but the first file of a replica holds the whole database, and
//! each level would upload it once more. So a level begins *after* the first transaction where
//! something else holds the start. A restore takes the newest snapshot and what continues it, so
//! the chain is as complete as before. Of several places to begin, the earliest is taken: no
//! transaction is left out that could be restored.
//!
//! What holds the start must last. Litestream, when it takes the replica over, deletes level 0 by
//! age alone: what level 1 has passed goes. It deletes files of higher levels only below a snapshot
//! that stays. So a snapshot or a file of level 1 or higher has to start at the first transaction;
//! until one does, level 1 merges from the first transaction on.
//!
//! # Holes
//!
//! Nothing is merged across a missing file: the merged file would claim transactions it does not
//! have, and hide that they are lost. The files before the hole are merged; there the level stops
//! until a snapshot, or any file that starts at the first transaction, leads past the hole.

use lockkeeper_ltx::{Level, Txid};
use serde::{Deserialize, Serialize};

use crate::compact::Hole;
use crate::inventory::{Inventory, ReplicaFile};

/// Bounds what one round of a level can merge, and the facts about it; a level that is further
/// behind goes on in its next round. An hour of syncs at one per second fits.
pub const WAITING_MAX: usize = 4096;

/// Transactions are missing in a level.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(into = "Hole", try_from = "Hole")]
#[error("level {level} lacks files before transaction {next}, nothing continues {}", Have(*have))]
pub struct Gap {
    /// The level with the hole.
    pub level: Level,
    /// The last transaction before it; none if nothing is left before it.
    pub have: Option<Txid>,
    /// The first transaction after it.
    pub next: Txid,
}

struct Have(Option<Txid>);

impl std::fmt::Display for Have {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(txid) => txid.fmt(f),
            None => f.write_str("the empty database"),
        }
    }
}

/// Files that wait to be merged into a level.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Waiting {
    /// Oldest first; each continues the one before. At most [`WAITING_MAX`].
    pub files: Vec<ReplicaFile>,
    /// The hole that ends them, if one does.
    pub gap: Option<Gap>,
}

/// The files of the level below that `level` may merge next; none for level 0 and for snapshots.
///
/// # Example
///
/// ```
/// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
/// use lockkeeper_core::waiting::waiting;
/// use lockkeeper_ltx::Level;
///
/// # let file = |level: u8, name: &str| ReplicaFile {
/// #     level: Level::new(level).expect("a level"),
/// #     name: name.parse().expect("a name"),
/// #     size: 1000,
/// #     created_ms: 0,
/// # };
/// let inventory = Inventory::new(vec![
///     file(0, "0000000000000001-0000000000000001.ltx"),
///     file(1, "0000000000000001-0000000000000001.ltx"), // was merged
///     file(0, "0000000000000002-0000000000000002.ltx"), // was not
/// ]);
/// let next = waiting(&inventory, Level::new(1).expect("a level"));
/// assert_eq!((next.files.len(), next.gap), (1, None));
/// ```
#[must_use]
pub fn waiting(inventory: &Inventory, level: Level) -> Waiting {
    let mut waiting = Waiting::default();
    let below = level.get().checked_sub(1).and_then(Level::new);
    let Some(source) = below.filter(|_| level != Level::SNAPSHOT) else {
        return waiting;
    };
    let starts = starts(inventory);
    let start_lasts = inventory
        .files()
        .iter()
        .any(|file| file.level != Level::L0 && file.is_start());
    let mut reached = inventory.newest(level).map(|file| file.range().max());
    for file in inventory.level(source) {
        if start_lasts && file.is_start() {
            continue;
        }
        let range = file.range();
        if !continues(reached, file) && waiting.files.is_empty() {
            let bridge = starts.iter().find(|&&end| continues(Some(end), file));
            reached = bridge.copied().max(reached);
        }
        if Some(range.max()) <= reached {
            continue;
        }
        if !continues(reached, file) {
            waiting.gap = Some(Gap {
                level: source,
                have: reached,
                next: range.min(),
            });
            break;
        }
        if waiting.files.len() >= WAITING_MAX {
            break;
        }
        waiting.files.push(*file);
        reached = Some(range.max());
    }
    waiting
}

/// Where the files end that hold the whole database, in ascending order.
fn starts(inventory: &Inventory) -> Vec<Txid> {
    let files = inventory.files().iter().filter(|file| file.is_start());
    let mut ends: Vec<Txid> = files.map(|file| file.range().max()).collect();
    ends.sort_unstable();
    ends
}

/// Whether a database at `reached` can be brought on by `file`, or is already past its start.
fn continues(reached: Option<Txid>, file: &ReplicaFile) -> bool {
    let next = reached.map_or(Some(Txid::FIRST), Txid::next);
    next.is_none_or(|next| file.range().min() <= next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::{file, inventory, level, txid};

    /// Files as `(level, min, max)`; what waits as `(min, max)`, and the gap after it.
    #[track_caller]
    fn check(
        all: &[(u8, u64, u64)],
        into: u8,
        expected: &[(u64, u64)],
        gap: Option<(Option<u64>, u64)>,
    ) {
        let all: Vec<_> = all.iter().map(|&(n, min, max)| (n, min, max, 0)).collect();
        let found = waiting(&inventory(&all), level(into));
        let source = into - 1;
        let expected = Waiting {
            files: expected
                .iter()
                .map(|&(min, max)| file((source, min, max, 0)))
                .collect(),
            gap: gap.map(|(have, next)| Gap {
                level: level(source),
                have: have.map(txid),
                next: txid(next),
            }),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_level_goes_on_where_its_newest_file_ends() {
        let all = [(9, 1, 1), (1, 2, 3), (0, 3, 3), (0, 4, 4), (0, 5, 5)];
        check(&all, 1, &[(4, 4), (5, 5)], None);
        check(&all, 2, &[(2, 3)], None);
        check(&all, 3, &[], None);
    }

    #[test]
    fn snapshots_and_level_0_are_merged_from_nothing() {
        let all = inventory(&[(8, 1, 1, 0), (0, 1, 1, 0)]);
        assert_eq!(waiting(&all, Level::SNAPSHOT), Waiting::default());
        assert_eq!(waiting(&all, Level::L0), Waiting::default());
    }

    #[test]
    fn an_empty_level_begins_after_what_holds_the_start() {
        let all = [(0, 1, 1), (0, 2, 2), (0, 3, 3), (9, 1, 1), (9, 1, 2)];
        check(&all, 1, &[(2, 2), (3, 3)], None);
        check(&all[1..], 1, &[(2, 2), (3, 3)], None);
        check(&[(1, 1, 9), (1, 10, 12)], 2, &[(10, 12)], None);
        check(&[(1, 1, 9), (0, 10, 10), (2, 1, 4)], 2, &[], None);
        check(&[(0, 5, 5), (0, 6, 6), (9, 1, 5)], 1, &[(6, 6)], None);
    }

    #[test]
    fn the_first_transaction_is_merged_while_level_0_alone_holds_it() {
        check(&[(0, 1, 1), (0, 2, 2)], 1, &[(1, 1), (2, 2)], None);
    }

    #[test]
    fn nothing_is_merged_across_a_hole() {
        let all = [(9, 1, 1), (1, 2, 3), (0, 4, 4), (0, 6, 6)];
        check(&all, 1, &[(4, 4)], Some((Some(4), 6)));
        let with_snapshot = [&all[..], &[(9, 1, 5)]].concat();
        check(&with_snapshot, 1, &[(4, 4)], Some((Some(4), 6)));
        let all = [(9, 1, 1), (1, 2, 3), (0, 5, 5)];
        check(&all, 1, &[], Some((Some(3), 5)));
        check(&[(0, 2, 2)], 1, &[], Some((None, 2)));
    }

    #[test]
    fn a_snapshot_leads_past_a_hole() {
        let lost_5 = [(1, 2, 4), (0, 4, 4), (0, 6, 6), (0, 7, 7), (0, 8, 8)];
        let with = |snapshots: &[(u8, u64, u64)]| [snapshots, &lost_5].concat();
        check(&with(&[(9, 1, 1)]), 1, &[], Some((Some(4), 6)));
        check(&with(&[(9, 1, 7)]), 1, &[(8, 8)], None);
        check(
            &with(&[(9, 1, 5), (9, 1, 7)]),
            1,
            &[(6, 6), (7, 7), (8, 8)],
            None,
        );
        check(&with(&[(9, 1, 8)]), 1, &[], None);
        check(
            &[(9, 1, 4), (0, 6, 6), (9, 1, 6), (0, 8, 8)],
            1,
            &[],
            Some((Some(6), 8)),
        );
    }

    #[test]
    fn files_that_overlap_are_merged_where_they_lead_further() {
        let all = [
            (9, 1, 1),
            (2, 2, 6),
            (1, 4, 5),
            (1, 5, 8),
            (1, 6, 8),
            (1, 8, 9),
        ];
        check(&all, 2, &[(5, 8), (8, 9)], None);
        let last = [(9, 1, 1), (1, 2, u64::MAX), (0, 9, 9)];
        check(&last, 1, &[], None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut all: Vec<_> = (2..WAITING_MAX as u64 + 9).map(|n| (0, n, n, 0)).collect();
        all.push((9, 1, 1, 0));
        let found = waiting(&inventory(&all), level(1));
        assert_eq!(found.files.len(), WAITING_MAX);
        assert_eq!(found.gap, None);
    }

    #[test]
    fn a_gap_says_where_it_is() {
        let gap = |have| Gap {
            level: level(0),
            have,
            next: txid(2),
        };
        assert_eq!(
            gap(None).to_string(),
            "level 0 lacks files before transaction 0000000000000002, nothing continues the empty \
             database"
        );
        assert!(gap(Some(txid(1))).to_string().ends_with("0000000000000001"));
    }
}
