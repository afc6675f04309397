//! The header of a wal-index: the state of the log that all connections of a database share
//! (SQLite, "WAL-mode File Format", section 2.1).
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
            backfilled: u32::from_ne_bytes(*backfilled),
            salt1: word(32).map(u32::from_be_bytes)?,
            salt2: word(36).map(u32::from_be_bytes)?,
        })
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
