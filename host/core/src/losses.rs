//! What a replica does not have any more although it was confirmed.
//!
//! Objects vanish: somebody deletes one, a lifecycle rule of the bucket does, a disk loses it.
//! Litestream never notices until a restore fails. Here the host looks at each listing: what is
//! lost and still on the local disk is sent again, and where that cannot close the hole, a new
//! snapshot leads past it.

use lockkeeper_ltx::{Level, Txid, TxidRange};

use crate::inventory::Inventory;
use crate::restore::{self, Target};

/// Transactions up to `durable` that no file of levels 0 to 8 holds, oldest first.
///
/// Looked at are the transactions after the newest snapshot and, before it, those after the oldest
/// file that is left: what retention has deleted is not lost.
///
/// # Example
///
/// ```
/// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
/// use lockkeeper_core::losses::{is_restorable, lost};
/// use lockkeeper_ltx::{Level, Txid};
///
/// # let file = |level: u8, name: &str| ReplicaFile {
/// #     level: Level::new(level).expect("a level"),
/// #     name: name.parse().expect("a name"),
/// #     size: 1000,
/// #     created_ms: 0,
/// # };
/// let inventory = Inventory::new(vec![
///     file(0, "0000000000000001-0000000000000001.ltx"),
///     file(0, "0000000000000003-0000000000000003.ltx"), // the second is gone
/// ]);
/// let durable = Txid::new(3).expect("a transaction");
/// assert_eq!(lost(&inventory, durable)[0].to_string(), "0000000000000002-0000000000000002");
/// assert!(!is_restorable(&inventory, durable));
/// ```
#[must_use]
pub fn lost(inventory: &Inventory, durable: Txid) -> Vec<TxidRange> {
    let mut held: Vec<TxidRange> = inventory
        .files()
        .iter()
        .filter(|file| file.level != Level::SNAPSHOT)
        .map(crate::inventory::ReplicaFile::range)
        .collect();
    held.sort_unstable_by_key(|&range| TxidRange::min(range));
    let after_snapshot = match inventory.newest(Level::SNAPSHOT) {
        Some(snapshot) => snapshot.range().max().next(),
        None => Some(Txid::FIRST),
    };
    let oldest = held.first().map(|&range| TxidRange::min(range));
    let mut next = match (after_snapshot, oldest) {
        (Some(after), Some(oldest)) => Some(after.min(oldest)),
        (after, oldest) => after.or(oldest),
    };
    let mut lost = Vec::new();
    for range in held {
        let Some(wanted) = next else { break };
        let before = Txid::new(range.min().get().saturating_sub(1));
        lost.extend(before.and_then(|end| TxidRange::new(wanted, end.min(durable))));
        next = range.max().next().max(next);
    }
    lost.extend(next.and_then(|wanted| TxidRange::new(wanted, durable)));
    lost
}

/// Whether a restore leads to `durable`.
#[must_use]
pub fn is_restorable(inventory: &Inventory, durable: Txid) -> bool {
    restore::plan(inventory.files(), Target::Latest).is_ok_and(|plan| plan.txid() >= durable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::{inventory, range, txid};

    /// Files as `(level, min, max)`; what is lost as `(min, max)`.
    #[track_caller]
    fn check(files: &[(u8, u64, u64)], durable: u64, expected: &[(u64, u64)], restorable: bool) {
        let files: Vec<_> = files
            .iter()
            .map(|&(n, min, max)| (n, min, max, 0))
            .collect();
        let inventory = inventory(&files);
        let expected: Vec<_> = expected.iter().map(|&(min, max)| range(min, max)).collect();
        assert_eq!(lost(&inventory, txid(durable)), expected);
        assert_eq!(is_restorable(&inventory, txid(durable)), restorable);
    }

    #[test]
    fn nothing_is_lost_of_a_whole_replica() {
        check(&[(0, 1, 1), (0, 2, 2)], 2, &[], true);
        check(&[(9, 1, 4), (1, 2, 4), (0, 4, 4), (0, 5, 5)], 5, &[], true);
        check(&[(9, 1, 4)], 4, &[], true);
    }

    #[test]
    fn what_retention_has_deleted_is_not_lost() {
        check(&[(9, 1, 8), (1, 7, 8), (0, 9, 9)], 9, &[], true);
        check(&[(9, 1, 3), (9, 1, 8), (2, 4, 9)], 9, &[], true);
    }

    #[test]
    fn holes_and_a_missing_end_are_lost() {
        check(
            &[(0, 1, 1), (0, 2, 2), (0, 4, 4)],
            5,
            &[(3, 3), (5, 5)],
            false,
        );
        check(&[(9, 1, 2), (0, 2, 2), (0, 5, 5)], 5, &[(3, 4)], false);
        check(&[(9, 1, 2), (0, 5, 5)], 7, &[(3, 4), (6, 7)], false);
        check(&[(9, 1, 2)], 4, &[(3, 4)], false);
        check(&[], 4, &[(1, 4)], false);
    }

    #[test]
    fn a_snapshot_leads_past_what_is_lost() {
        check(&[(0, 1, 1), (0, 4, 4), (9, 1, 4)], 4, &[(2, 3)], true);
        check(&[(0, 2, 2), (0, 3, 3)], 3, &[(1, 1)], false);
    }
}
