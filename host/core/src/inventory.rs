//! What a replica holds.

use lockkeeper_ltx::{FileName, Level, TxidRange};
use serde::{Deserialize, Serialize};

use crate::compact::Listed;

/// One LTX file of a replica, as a listing shows it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Listed", try_from = "Listed")]
pub struct ReplicaFile {
    /// Its level.
    pub level: Level,
    /// Its name, which says what it covers.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// When it was sealed, in milliseconds since the Unix epoch, as the store remembers it.
    pub created_ms: i64,
}

impl ReplicaFile {
    /// What the file covers.
    #[must_use]
    pub fn range(&self) -> TxidRange {
        self.name.range()
    }

    /// When it was sealed, in milliseconds since the Unix epoch; a time before that counts as 0.
    #[must_use]
    pub fn created_unix_ms(&self) -> u64 {
        u64::try_from(self.created_ms).unwrap_or(0)
    }

    /// Its age in milliseconds; a file from the future has none.
    #[must_use]
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.created_unix_ms())
    }

    /// Whether a restore can start with it: it holds the whole database.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.range().is_snapshot()
    }
}

/// Every file of one replica, by level and name.
///
/// # Example
///
/// ```
/// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
/// use lockkeeper_ltx::Level;
///
/// let file = ReplicaFile {
///     level: Level::L0,
///     name: "0000000000000001-0000000000000001.ltx".parse().expect("a name"),
///     size: 1000, // bytes
///     created_ms: 60_000, // since the Unix epoch
/// };
/// assert!(file.is_start() && file.range().max().get() == 1);
/// assert_eq!((file.created_unix_ms(), file.age_ms(61_000)), (60_000, 1_000));
///
/// let inventory = Inventory::new(vec![file]);
/// assert_eq!(inventory.files(), inventory.level(Level::L0));
/// assert_eq!(inventory.newest(Level::L0), Some(&file));
/// assert_eq!(inventory.newest(Level::SNAPSHOT), None);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inventory {
    files: Vec<ReplicaFile>,
}

impl Inventory {
    /// Sorts `files`. Of two with one level and name, which no store can hold, the first stays.
    #[must_use]
    pub fn new(mut files: Vec<ReplicaFile>) -> Self {
        files.sort_by_key(|file| (file.level, file.name));
        files.dedup_by_key(|file| (file.level, file.name));
        Self { files }
    }

    /// All files, by ascending level and name.
    #[must_use]
    pub fn files(&self) -> &[ReplicaFile] {
        &self.files
    }

    /// The files of one level, by ascending name.
    #[must_use]
    pub fn level(&self, level: Level) -> &[ReplicaFile] {
        let from = self.files.partition_point(|file| file.level < level);
        let to = self.files.partition_point(|file| file.level <= level);
        self.files.get(from..to).unwrap_or_default()
    }

    /// The file of a level that leads furthest.
    #[must_use]
    pub fn newest(&self, level: Level) -> Option<&ReplicaFile> {
        self.level(level)
            .iter()
            .max_by_key(|file| file.range().max())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Short ways to write an inventory down.

    use lockkeeper_ltx::Txid;

    use super::*;

    pub(crate) fn txid(n: u64) -> Txid {
        Txid::new(n).unwrap()
    }

    pub(crate) fn range(min: u64, max: u64) -> TxidRange {
        TxidRange::new(txid(min), txid(max)).unwrap()
    }

    pub(crate) fn level(n: u8) -> Level {
        Level::new(n).unwrap()
    }

    pub(crate) fn file((n, min, max, created_ms): (u8, u64, u64, u64)) -> ReplicaFile {
        ReplicaFile {
            level: level(n),
            name: FileName::new(range(min, max)),
            size: 200,
            created_ms: created_ms.cast_signed(),
        }
    }

    /// Files as `(level, min, max, created_ms)`.
    pub(crate) fn inventory(specs: &[(u8, u64, u64, u64)]) -> Inventory {
        Inventory::new(specs.iter().copied().map(file).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{file, inventory, level};

    #[test]
    fn files_are_found_by_level_and_the_newest_leads_furthest() {
        let all = inventory(&[(1, 5, 9, 0), (0, 2, 2, 0), (1, 6, 7, 0), (0, 1, 1, 0)]);
        assert_eq!(
            all.level(level(0)),
            [file((0, 1, 1, 0)), file((0, 2, 2, 0))]
        );
        assert_eq!(all.newest(level(1)), Some(&file((1, 5, 9, 0))));
        assert_eq!(all.level(level(2)), []);
        assert_eq!(all.newest(level(9)), None);
        assert_eq!(
            inventory(&[(0, 1, 1, 0), (0, 1, 1, 5)]).files(),
            [file((0, 1, 1, 0))]
        );
    }

    #[test]
    fn ages_never_underflow() {
        let mut old = file((0, 1, 1, 10));
        assert_eq!((old.age_ms(15), old.age_ms(5)), (5, 0));
        old.created_ms = -10;
        assert_eq!((old.created_unix_ms(), old.age_ms(15)), (0, 15));
    }
}
