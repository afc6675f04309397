//! Which file of a replica continues a database that is kept up to date.

use lockkeeper_ltx::Txid;

use crate::inventory::ReplicaFile;
use crate::restore::preference;

/// What a replica has for a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The file to apply.
    File(ReplicaFile),
    /// The database holds everything.
    UpToDate,
    /// There is more, but no file begins where the database ends.
    Gap {
        /// Where the first file begins that is out of reach.
        next: Txid,
    },
    /// The replica ends before the database does: it is not the one that the database came from,
    /// or it began again.
    Behind {
        /// Its last transaction; `None` if it is empty.
        newest: Option<Txid>,
    },
}

/// The file that leads furthest from a database that holds everything up to `have`. A whole
/// database is read only if nothing smaller does.
///
/// # Example
///
/// ```
/// use lockkeeper_core::follow::{Next, next};
/// use lockkeeper_ltx::Txid;
/// assert_eq!(next(&[], Txid::FIRST), Next::Behind { newest: None });
/// ```
#[must_use]
pub fn next(files: &[ReplicaFile], have: Txid) -> Next {
    let newest = files.iter().map(|file| file.name.range().max()).max();
    if newest.is_none_or(|newest| newest < have) {
        return Next::Behind { newest };
    }
    let is_more = |file: &&ReplicaFile| file.name.range().max() > have;
    let continues = |file: &&ReplicaFile| {
        have.next()
            .is_some_and(|next| file.name.range().min() <= next)
    };
    let file = files
        .iter()
        .filter(|file| is_more(file) && continues(file))
        .max_by_key(|file| (!file.name.range().is_snapshot(), preference(file)));
    if let Some(file) = file {
        return Next::File(*file);
    }
    let out_of_reach = files.iter().filter(is_more);
    match out_of_reach.map(|file| file.name.range().min()).min() {
        Some(next) => Next::Gap { next },
        None => Next::UpToDate,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use lockkeeper_ltx::{FileName, Level, TxidRange};

    use super::*;

    fn txid(n: u64) -> Txid {
        Txid::new(n).unwrap()
    }

    fn file(&(level, min, max): &(u8, u64, u64)) -> ReplicaFile {
        ReplicaFile {
            level: Level::new(level).unwrap(),
            name: FileName::new(TxidRange::new(txid(min), txid(max)).unwrap()),
            size: 200,
            created_ms: 0,
        }
    }

    #[track_caller]
    fn check(files: &[(u8, u64, u64)], have: u64, expected: Next) {
        let files: Vec<ReplicaFile> = files.iter().map(file).collect();
        assert_eq!(next(&files, txid(have)), expected);
    }

    #[test]
    fn files_are_applied_one_after_the_other() {
        let l0 = [(0, 4, 4), (0, 5, 5), (0, 6, 6)];
        check(&l0, 3, Next::File(file(&l0[0])));
        check(&l0, 4, Next::File(file(&l0[1])));
        check(&l0, 6, Next::UpToDate);
    }

    #[test]
    fn a_gap_is_filled_by_what_leads_furthest_and_last_by_a_snapshot() {
        let all = [(9, 1, 9), (2, 3, 6), (1, 5, 6), (1, 5, 7), (0, 9, 9)];
        check(&all, 4, Next::File(file(&all[3])));
        check(&all, 5, Next::File(file(&all[3])));
        check(&all, 2, Next::File(file(&all[1])));
        check(&all, 7, Next::File(file(&all[0])));
        check(&all[1..], 7, Next::Gap { next: txid(9) });
        check(&[(0, 9, 9), (0, 8, 8)], 5, Next::Gap { next: txid(8) });
    }

    #[test]
    fn a_replica_that_ends_before_the_database_is_another_one() {
        let newest = Some(txid(4));
        check(&[(0, 4, 4), (9, 1, 3)], 5, Next::Behind { newest });
        check(&[(0, 4, 4)], 4, Next::UpToDate);
    }

    #[test]
    fn nothing_comes_after_the_last_number() {
        check(&[(0, u64::MAX, u64::MAX)], u64::MAX, Next::UpToDate);
    }
}
