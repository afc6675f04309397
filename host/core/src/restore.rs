//! Which files of a replica make a database.

use std::cmp::Reverse;

use lockkeeper_ltx::{FileName, HEADER_LEN, Level, Txid, TxidRange};

use crate::inventory::ReplicaFile;

/// The point to restore to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Target {
    /// Everything the replica has.
    #[default]
    Latest,
    /// Exactly this transaction.
    Txid(Txid),
    /// The last file sealed strictly before this time, in milliseconds since the Unix epoch. For a
    /// replica of Litestream 0.3: at this time or before it.
    Before(i64),
}

impl Target {
    fn admits(self, file: &ReplicaFile) -> bool {
        match self {
            Self::Latest => true,
            Self::Txid(txid) => file.name.range().max() <= txid,
            Self::Before(time_ms) => file.created_ms < time_ms,
        }
    }
}

/// The files to read, in order: each continues the one before, newer pages win.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    files: Vec<ReplicaFile>,
    txid: Txid,
    unreachable: Option<Txid>,
}

impl Plan {
    /// The files, oldest first. Never empty; the first is a snapshot.
    #[must_use]
    pub fn files(&self) -> &[ReplicaFile] {
        &self.files
    }

    /// The transaction that the files lead to.
    #[must_use]
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// Bytes to read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files
            .iter()
            .map(|file| file.size)
            .fold(0, u64::saturating_add)
    }

    /// Where a file starts that the target admits and that no chain of files reaches. Litestream
    /// restores such a target without a word, so this is no error; but people should know.
    #[must_use]
    pub fn unreachable(&self) -> Option<Txid> {
        self.unreachable
    }
}

/// Why no plan exists.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The replica has no file that could start a database.
    #[error("no matching backup files available")]
    Empty,
    /// Files are missing before the oldest one that is left.
    #[error("no matching backup files available: no snapshot, the first file starts at {next}")]
    NoSnapshot {
        /// Where the oldest file starts.
        next: Txid,
    },
    /// No file ends at the transaction that was asked for.
    #[error(
        "no matching backup files available: no file ends at {wanted}, the last before at {have}"
    )]
    NoSuchTxid {
        /// What was asked for.
        wanted: Txid,
        /// The last transaction up to there that can be restored.
        have: Txid,
    },
    /// Files are missing in the middle: what comes after them cannot be restored.
    #[error("non-contiguous ltx files: have up to {have} but next file starts at {next}")]
    Gap {
        /// The last transaction that can be restored.
        have: Txid,
        /// Where the next file starts.
        next: Txid,
    },
    /// A file is too small to be one.
    #[error("invalid ltx file: level {level} {name} has size {size} bytes (minimum {HEADER_LEN})")]
    TooSmall {
        /// Its level.
        level: Level,
        /// Its name.
        name: FileName,
        /// Its size.
        size: u64,
    },
}

/// Chooses the files that restore `target` from everything a replica holds: the newest snapshot,
/// then always the file that leads furthest.
///
/// # Errors
///
/// [`PlanError`] if the files do not reach the target without a gap. A target of
/// [`Target::Latest`] is never answered with something older than the newest file.
///
/// # Example
///
/// ```
/// use lockkeeper_core::inventory::ReplicaFile;
/// use lockkeeper_core::restore::{Target, plan};
/// use lockkeeper_ltx::Level;
///
/// # let file = |level: u8, name: &str| ReplicaFile {
/// #     level: Level::new(level).expect("a level"),
/// #     name: name.parse().expect("a name"),
/// #     size: 1000,
/// #     created_ms: 0,
/// # };
/// let files = [
///     file(9, "0000000000000001-0000000000000005.ltx"), // a snapshot
///     file(0, "0000000000000006-0000000000000006.ltx"),
/// ];
/// let newest = plan(&files, Target::Latest).expect("nothing is missing");
/// assert_eq!((newest.files().len(), newest.txid().get(), newest.size()), (2, 6, 2000));
/// assert_eq!(newest.unreachable(), None);
/// ```
pub fn plan(files: &[ReplicaFile], target: Target) -> Result<Plan, PlanError> {
    let admitted = files.iter().filter(|file| target.admits(file));
    let (snapshots, mut rest): (Vec<ReplicaFile>, Vec<ReplicaFile>) = admitted
        .copied()
        .partition(|file| file.level == Level::SNAPSHOT);
    rest.sort_by_key(|file| file.name.range().min());

    let base = snapshots
        .iter()
        .filter(|file| file.name.range().is_snapshot())
        .max_by_key(|file| file.name.range().max());
    let mut chain: Vec<ReplicaFile> = base.copied().into_iter().collect();
    let mut candidates = rest.iter().peekable();
    let mut best: Option<&ReplicaFile> = None;
    loop {
        let reached = chain.last().map(|file| file.name.range().max());
        let Some(next) = reached.map_or(Some(Txid::FIRST), Txid::next) else {
            break;
        };
        // A file that could continue the chain once still can when the chain is longer, so it is
        // enough to remember the one that leads furthest.
        while let Some(file) = candidates.next_if(|file| file.name.range().min() <= next) {
            if best.is_none_or(|best| preference(file) > preference(best)) {
                best = Some(file);
            }
        }
        match best {
            Some(file) if Some(file.name.range().max()) > reached => chain.push(*file),
            _ => break,
        }
    }

    let first_left = candidates.next().map(|file| file.name.range().min());
    let Some(last) = chain.last() else {
        return Err(first_left.map_or(PlanError::Empty, |next| PlanError::NoSnapshot { next }));
    };
    let txid = last.name.range().max();
    // A snapshot that does not start at the beginning is none; if it is newer, it is missing.
    let odd = snapshots
        .iter()
        .map(|file| file.name.range())
        .find(|range| TxidRange::max(*range) > txid);
    let unreachable = first_left.or(odd.map(|range| range.min()));
    match (target, unreachable) {
        (Target::Latest, Some(next)) => return Err(PlanError::Gap { have: txid, next }),
        (Target::Txid(wanted), _) if txid != wanted => {
            return Err(PlanError::NoSuchTxid { wanted, have: txid });
        }
        _ => {}
    }
    if let Some(file) = chain.iter().find(|file| file.size < HEADER_LEN as u64) {
        let ReplicaFile {
            level, name, size, ..
        } = *file;
        return Err(PlanError::TooSmall { level, name, size });
    }
    Ok(Plan {
        files: chain,
        txid,
        unreachable,
    })
}

/// The oldest and the newest point that `files` restore, each as the file that ends there; `None`
/// if they restore nothing. Not every transaction between is a point: merged files have one end
/// each, and where files are missing there is none.
#[must_use]
pub fn window(files: &[ReplicaFile]) -> Option<(ReplicaFile, ReplicaFile)> {
    let newest = match plan(files, Target::Latest) {
        Err(PlanError::Gap { have, .. }) => plan(files, Target::Txid(have)),
        planned => planned,
    };
    let newest = *newest.ok()?.files().last()?;
    let starts = files.iter().filter(|file| file.is_start());
    let oldest = starts.min_by_key(|file| (file.range().max(), file.created_ms))?;
    Some((*oldest, newest))
}

/// Greatest end first; then the longest, the highest level, the oldest.
pub(crate) fn preference(file: &ReplicaFile) -> impl Ord + use<> {
    let range = file.name.range();
    (
        range.max(),
        Reverse(range.min()),
        file.level,
        Reverse(file.created_ms),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
