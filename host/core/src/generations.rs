//! Replicas that Litestream 0.3 wrote: generations of snapshots and pieces of the log.
//!
//! | key below the replica | what it is |
//! |---|---|
//! | `generations/<16 hex>/snapshots/<index>.snapshot.lz4` | the database file before log `index` |
//! | `generations/<16 hex>/wal/<index>_<offset>.wal.lz4` | log `index` from byte `offset` on |
//!
//! Index and offset are hexadecimal with at least eight digits. Each file is one LZ4 frame.

use std::fmt;

use lockkeeper_ltx::Level;

use crate::inventory::ReplicaFile;
use crate::restore::Target;

/// The folder that holds the generations.
pub const FOLDER: &str = "generations";

/// The name of a generation: 16 lower-case hexadecimal digits. A generation begins where
/// replication could not be continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GenerationId(u64);

impl GenerationId {
    /// `None` if `name` is not the name of a generation.
    ///
    /// # Example
    ///
    /// ```
    /// use lockkeeper_core::generations::GenerationId;
    /// assert!(GenerationId::parse("6ad019e45a3c8088").is_some());
    /// assert!(GenerationId::parse("6AD019E45A3C8088").is_none());
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        parse_hex(name, 16, 16).map(Self)
    }

    /// The folder of its snapshots, below the replica.
    #[must_use]
    pub fn snapshots_folder(self) -> String {
        format!("{FOLDER}/{self}/snapshots")
    }

    /// The folder of the pieces of its logs, below the replica.
    #[must_use]
    pub fn segments_folder(self) -> String {
        format!("{FOLDER}/{self}/wal")
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A copy of the database file, compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotFile {
    /// The generation it belongs to.
    pub generation: GenerationId,
    /// The log that continues it.
    pub index: u32,
    /// Its size in bytes, compressed.
    pub size: u64,
    /// When it was written, in milliseconds since the Unix epoch, rounded up.
    pub created_ms: i64,
}

impl SnapshotFile {
    /// The index in the name of a snapshot; `None` for another name.
    #[must_use]
    pub fn parse_name(name: &str) -> Option<u32> {
        parse_index(name.strip_suffix(".snapshot.lz4")?)
    }

    /// Its key below the replica.
    #[must_use]
    pub fn key(&self) -> String {
        let folder = self.generation.snapshots_folder();
        format!("{folder}/{:08x}.snapshot.lz4", self.index)
    }
}

/// A piece of a log, compressed. The pieces of one index, put together, are a complete log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentFile {
    /// The generation it belongs to.
    pub generation: GenerationId,
    /// Counts the logs of the generation.
    pub index: u32,
    /// Where in the log it begins, in bytes.
    pub offset: u64,
    /// Its size in bytes, compressed.
    pub size: u64,
    /// When it was written, in milliseconds since the Unix epoch, rounded up.
    pub created_ms: i64,
}

impl SegmentFile {
    /// Index and offset in the name of a piece of a log; `None` for another name.
    #[must_use]
    pub fn parse_name(name: &str) -> Option<(u32, u64)> {
        let (index, offset) = name.strip_suffix(".wal.lz4")?.split_once('_')?;
        Some((parse_index(index)?, parse_hex(offset, 8, 16)?))
    }

    /// Its key below the replica.
    #[must_use]
    pub fn key(&self) -> String {
        let folder = self.generation.segments_folder();
        format!("{folder}/{:08x}_{:08x}.wal.lz4", self.index, self.offset)
    }
}

/// Every file of every generation of a replica.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Generations {
    /// The snapshots, in any order.
    pub snapshots: Vec<SnapshotFile>,
    /// The pieces of logs, in any order.
    pub segments: Vec<SegmentFile>,
}

impl Generations {
    /// When each file was written.
    pub fn times_ms(&self) -> impl Iterator<Item = i64> {
        let snapshots = self.snapshots.iter().map(|file| file.created_ms);
        snapshots.chain(self.segments.iter().map(|file| file.created_ms))
    }

    /// The newest snapshot that `target` admits.
    fn snapshot(&self, target: Target) -> Option<&SnapshotFile> {
        let admitted = self.snapshots.iter();
        admitted
            .filter(|file| admits(target, file.created_ms))
            .max_by_key(|file| (file.created_ms, file.index, file.generation))
    }
}

/// The files of one generation that make a database, in the order to read them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GenerationPlan {
    snapshot: SnapshotFile,
    segments: Vec<SegmentFile>,
}

impl GenerationPlan {
    /// The database file to begin with.
    #[must_use]
    pub fn snapshot(&self) -> &SnapshotFile {
        &self.snapshot
    }

    /// The pieces of the logs that continue it, by index and offset. Indexes have no gap, and the
    /// first piece of each begins at offset 0.
    #[must_use]
    pub fn segments(&self) -> &[SegmentFile] {
        &self.segments
    }

    /// Bytes to read.
    #[must_use]
    pub fn size(&self) -> u64 {
        let segments = self.segments.iter().map(|file| file.size);
        segments.fold(self.snapshot.size, u64::saturating_add)
    }
}

/// Why no generation can be restored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationPlanError {
    /// There is no snapshot to begin with.
    #[error("no matching backup files available")]
    NoSnapshot,
    /// Transactions are only known in LTX files.
    #[error("no matching backup files available: generations have no transaction ids")]
    NoTxids,
    /// A log is missing before others.
    #[error("missing log {expected:08x} of generation {generation}: the next one is {found:08x}")]
    MissingIndex {
        /// The generation.
        generation: GenerationId,
        /// The index that has to come.
        expected: u32,
        /// The index that comes.
        found: u32,
    },
    /// The beginning of a log is missing.
    #[error("missing start of log {index:08x} of generation {generation}: it begins at {offset}")]
    MissingStart {
        /// The generation.
        generation: GenerationId,
        /// The log.
        index: u32,
        /// Where the first piece begins, in bytes.
        offset: u64,
    },
}

/// Chooses the files that restore `target`: the newest snapshot of all generations, then every
/// later piece of log of the same generation. A time is an inclusive bound here.
///
/// # Errors
///
/// [`GenerationPlanError`] if there is no snapshot or something is missing after it. Whether the
/// pieces of one log fit together shows only when they are decompressed.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_core::generations::{
///     GenerationId, Generations, SegmentFile, SnapshotFile, is_preferred, plan,
/// };
/// use lockkeeper_core::restore::Target;
///
/// let generation = GenerationId::parse("00000000000000a1").expect("an id");
/// let snapshot = SnapshotFile {
///     generation,
///     index: SnapshotFile::parse_name("00000000.snapshot.lz4").expect("an index"),
///     size: 1000,
///     created_ms: 1,
/// };
/// let (index, offset) = SegmentFile::parse_name("00000000_00000000.wal.lz4").expect("a place");
/// let segment = SegmentFile { generation, index, offset, size: 10, created_ms: 2 };
/// assert!(snapshot.key().starts_with(&generation.snapshots_folder()));
/// assert!(segment.key().starts_with(&generation.segments_folder()));
///
/// let generations = Generations { snapshots: vec![snapshot], segments: vec![segment] };
/// assert_eq!(generations.times_ms().max(), Some(2));
/// assert!(is_preferred(&generations, &[], Target::Latest)); // there are no LTX files
/// let plan = plan(&generations, Target::Latest)?;
/// assert_eq!((plan.size(), plan.segments().len()), (1010, 1));
/// assert_eq!(plan.snapshot(), &snapshot);
/// # Ok(())
/// # }
/// ```
pub fn plan(
    generations: &Generations,
    target: Target,
) -> Result<GenerationPlan, GenerationPlanError> {
    if matches!(target, Target::Txid(_)) {
        return Err(GenerationPlanError::NoTxids);
    }
    let snapshot = *generations
        .snapshot(target)
        .ok_or(GenerationPlanError::NoSnapshot)?;
    let generation = snapshot.generation;
    let follows = |file: &&SegmentFile| {
        file.generation == generation
            && file.index >= snapshot.index
            && admits(target, file.created_ms)
    };
    let segments = generations.segments.iter().filter(follows);
    let mut segments: Vec<SegmentFile> = segments.copied().collect();
    segments.sort_by_key(|file| (file.index, file.offset));

    let mut expected = Some(snapshot.index);
    let mut last = None;
    for segment in &segments {
        let SegmentFile { index, offset, .. } = *segment;
        if last == Some(index) {
            continue;
        }
        match expected {
            Some(expected) if expected != index => {
                return Err(GenerationPlanError::MissingIndex {
                    generation,
                    expected,
                    found: index,
                });
            }
            _ if offset != 0 => {
                return Err(GenerationPlanError::MissingStart {
                    generation,
                    index,
                    offset,
                });
            }
            _ => {}
        }
        last = Some(index);
        expected = index.checked_add(1);
    }
    Ok(GenerationPlan { snapshot, segments })
}

/// Whether a restore of `target` reads generations, and not LTX files, where a replica has both:
/// where the newer data is, as Litestream judges it.
#[must_use]
pub fn is_preferred(generations: &Generations, files: &[ReplicaFile], target: Target) -> bool {
    let newest = generations.times_ms().max();
    let newest_ltx = files.iter().map(|file| file.created_ms).max();
    let (Some(newest), Some(newest_ltx)) = (newest, newest_ltx) else {
        return newest.is_some() && !matches!(target, Target::Txid(_));
    };
    match target {
        Target::Latest => newest > newest_ltx,
        Target::Txid(_) => false,
        Target::Before(time_ms) => {
            let snapshot = generations.snapshot(target).map(|file| file.created_ms);
            let snapshots = files.iter().filter(|file| file.level == Level::SNAPSHOT);
            let times = snapshots.map(|file| file.created_ms);
            // `None` is less than any time.
            snapshot > times.filter(|created_ms| *created_ms < time_ms).max()
        }
    }
}

fn admits(target: Target, created_ms: i64) -> bool {
    match target {
        Target::Latest | Target::Txid(_) => true,
        Target::Before(time_ms) => created_ms <= time_ms,
    }
}

fn parse_index(text: &str) -> Option<u32> {
    parse_hex(text, 8, 8).and_then(|index| u32::try_from(index).ok())
}

/// Parses lower-case hexadecimal digits, so many of them.
fn parse_hex(text: &str, digits_min: usize, digits_max: usize) -> Option<u64> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = (digits_min..=digits_max).contains(&text.len()) && text.bytes().all(is_digit);
    fits.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
