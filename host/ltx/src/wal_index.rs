//! The wal-index: the state of the log that all connections of a database share (SQLite, "WAL-mode
//! File Format", section 2), in blocks of [`WAL_INDEX_BLOCK_LEN`] bytes.
//!
//! A block is a list of page numbers, one for each frame, and a hash table over them. The first
//! begins with a header and lists [`FIRST_FRAMES`] frames, others [`BLOCK_FRAMES`]. The header:
//!
//! | offset | bytes | field, in the byte order of the machine unless stated |
//! |---|---|---|
//! | 0 | 4 | version, 3007000 |
//! | 8 | 4 | counter that grows by one with each committed transaction |
//! | 12 | 1 | 1 when initialised |
//! | 13 | 1 | 1 if the log's checksums are big-endian |
//! | 14 | 2 | page size, 1 for 65536 |
//! | 16 | 4 | valid frames in the log |
//! | 20 | 4 | pages of the database |
//! | 24 | 8 | checksum of the last frame |
//! | 32 | 8 | both salts, as in the log: big-endian |
//! | 40 | 8 | checksum of the fields before |
//! | 48 | 48 | the same again |
//! | 96 | 4 | frames that are copied into the database |

use crate::wal::{ChecksumOrder, add_checksum};

/// Bytes of the part that [`WalIndexHeader::parse`] reads.
pub const WAL_INDEX_LEN: usize = 100;
/// Bytes of a block.
pub const WAL_INDEX_BLOCK_LEN: usize = 32_768;

/// Frames that the first block lists.
const FIRST_FRAMES: u64 = 4_062;
/// Frames that every other block lists.
const BLOCK_FRAMES: u64 = 4_096;
/// Bytes before the page numbers of the first block.
const FIRST_LIST_OFFSET: u64 = 136;

const VERSION: u32 = 3_007_000;
const COPY_LEN: usize = 48;
const SUMMED_LEN: usize = 40;
#[cfg(target_endian = "little")]
const NATIVE: ChecksumOrder = ChecksumOrder::Little;
#[cfg(target_endian = "big")]
const NATIVE: ChecksumOrder = ChecksumOrder::Big;

/// The state of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WalIndexHeader {
    /// Grows by one, and wraps, with each transaction that is committed to the log; restarts of the
    /// log leave it as it is. Only a recovery, after all connections are gone, starts it again.
    pub changes: u32,
    /// Valid frames in the log, all of them committed.
    pub frames: u32,
    /// Pages of the database after the last of them.
    pub pages: u32,
    /// What the last of them states as its checksum.
    pub checksum: [u32; 2],
    /// How many of them are copied into the database.
    pub backfilled: u32,
    /// Of the log that the next transaction is appended to.
    pub salt1: u32,
    /// As above.
    pub salt2: u32,
}

impl WalIndexHeader {
    /// Reads the first bytes of a wal-index. `None` if a writer is changing it at this moment, or
    /// it was never initialised.
    #[must_use]
    pub fn parse(bytes: &[u8; WAL_INDEX_LEN]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<COPY_LEN>()?;
        let (second, rest) = rest.split_first_chunk::<COPY_LEN>()?;
        let (backfilled, _) = rest.split_first_chunk::<4>()?;
        let word = |at: usize| {
            let end = at.checked_add(4)?;
            first.get(at..end)?.try_into().ok()
        };
        let native = |at| word(at).map(u32::from_ne_bytes);
        let checksum = add_checksum(NATIVE, [0, 0], first.get(..SUMMED_LEN)?);
        let is_whole = first == second
            && native(0)? == VERSION
            && first.get(12) == Some(&1)
            && checksum == [native(40)?, native(44)?];
        is_whole.then_some(Self {
            changes: native(8)?,
            frames: native(16)?,
            pages: native(20)?,
            checksum: [native(24)?, native(28)?],
            backfilled: u32::from_ne_bytes(*backfilled),
            salt1: word(32).map(u32::from_be_bytes)?,
            salt2: word(36).map(u32::from_be_bytes)?,
        })
    }
}

/// Where the number of the page in frame `index`, which counts from 0, stands: the block, and the
/// 32-bit word in it, in the byte order of the machine.
///
/// ```
/// assert_eq!(lockkeeper_ltx::wal_index_place(0), (0, 34));
/// assert_eq!(lockkeeper_ltx::wal_index_place(4_061), (0, 4_095));
/// assert_eq!(lockkeeper_ltx::wal_index_place(4_062), (1, 0));
/// assert_eq!(lockkeeper_ltx::wal_index_place(4_062 + 4_096), (2, 0));
/// ```
#[must_use]
pub fn wal_index_place(index: u64) -> (u64, u64) {
    match index.checked_sub(FIRST_FRAMES) {
        None => (0, index.saturating_add(FIRST_LIST_OFFSET / 4)),
        Some(rest) => ((rest / BLOCK_FRAMES).saturating_add(1), rest % BLOCK_FRAMES),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn sample() -> [u8; WAL_INDEX_LEN] {
        let mut copy = [0; COPY_LEN];
        copy[0..4].copy_from_slice(&VERSION.to_ne_bytes());
        copy[8..12].copy_from_slice(&7u32.to_ne_bytes());
        copy[12] = 1;
        copy[16..20].copy_from_slice(&9u32.to_ne_bytes());
        copy[20..24].copy_from_slice(&11u32.to_ne_bytes());
        copy[24..28].copy_from_slice(&12u32.to_ne_bytes());
        copy[28..32].copy_from_slice(&13u32.to_ne_bytes());
        copy[32..36].copy_from_slice(&0x0102_0304u32.to_be_bytes());
        copy[36..40].copy_from_slice(&5u32.to_be_bytes());
        let [a, b] = add_checksum(NATIVE, [0, 0], &copy[..SUMMED_LEN]);
        copy[40..44].copy_from_slice(&a.to_ne_bytes());
        copy[44..48].copy_from_slice(&b.to_ne_bytes());
        let mut bytes = [0; WAL_INDEX_LEN];
        bytes[..48].copy_from_slice(&copy);
        bytes[48..96].copy_from_slice(&copy);
        bytes[96..].copy_from_slice(&3u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_whole_header_is_read() {
        let header = WalIndexHeader::parse(&sample()).unwrap();
        let expected = WalIndexHeader {
            changes: 7,
            frames: 9,
            pages: 11,
            checksum: [12, 13],
            backfilled: 3,
            salt1: 0x0102_0304,
            salt2: 5,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn a_header_that_differs_in_any_byte_of_either_copy_is_not() {
        for at in 0..96 {
            let mut bytes = sample();
            bytes[at] ^= 1;
            assert_eq!(WalIndexHeader::parse(&bytes), None, "byte {at}");
        }
        assert_eq!(WalIndexHeader::parse(&[0; WAL_INDEX_LEN]), None);
    }
}
