//! The first bytes of the file with page hashes.

use lockkeeper_ltx::{PageSize, Txid};
use twox_hash::XxHash3_128;

pub(super) const HEADER_LEN: usize = 64;
const MAGIC: [u8; 8] = *b"LKHASH\0\x01";
/// Where the checksum of the header stands in it.
const CHECKSUM_AT: usize = HEADER_LEN - 16;

/// What the hashes are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) page_size: PageSize,
    /// Size of the database at the base, in pages.
    pub(super) commit: u32,
    /// The transaction whose pages are hashed.
    pub(super) base: Txid,
    /// Hashes up to this transaction may have been written.
    pub(super) flushing: Txid,
    /// The checksum of the L0 file of the base.
    pub(super) file_checksum: u64,
    /// Drawn for each file, so that nobody can make two pages of one hash beforehand.
    pub(super) seed: u64,
}

impl Header {
    pub(super) fn new(page_size: PageSize, seed: u64) -> Self {
        Self {
            page_size,
            commit: 0,
            base: Txid::FIRST,
            flushing: Txid::FIRST,
            file_checksum: 0,
            seed,
        }
    }

    pub(super) fn hash(&self, page: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.seed, page)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.page_size.get().to_le_bytes());
        bytes.extend_from_slice(&self.commit.to_le_bytes());
        bytes.extend_from_slice(&self.base.get().to_le_bytes());
        bytes.extend_from_slice(&self.flushing.get().to_le_bytes());
        bytes.extend_from_slice(&self.file_checksum.to_le_bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        let checksum = XxHash3_128::oneshot(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    /// `None` if this is not a header, or a damaged one.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (fields, checksum) = bytes.split_at(CHECKSUM_AT);
        let is_whole = XxHash3_128::oneshot(fields).to_le_bytes() == *checksum;
        if !is_whole || !fields.starts_with(&MAGIC) {
            return None;
        }
        let u32_at = |at| Some(u32::from_le_bytes(*fields.get(at..)?.first_chunk()?));
        let u64_at = |at| Some(u64::from_le_bytes(*fields.get(at..)?.first_chunk()?));
        Some(Self {
            page_size: PageSize::new(u32_at(8)?).ok()?,
            commit: u32_at(12)?,
            base: Txid::new(u64_at(16)?)?,
            flushing: Txid::new(u64_at(24)?)?,
            file_checksum: u64_at(32)?,
            seed: u64_at(40)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written_and_not_with_any_bit_changed() {
        let header = Header {
            commit: 7,
            flushing: Txid::new(9).unwrap(),
            file_checksum: u64::MAX - 1,
            ..Header::new(PageSize::new(4096).unwrap(), 5)
        };
        let bytes = header.encode();
        assert_eq!(Header::parse(&bytes), Some(header));
        for bit in 0..HEADER_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&damaged), None, "bit {bit}");
        }
    }
}
