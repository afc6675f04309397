//! CRC-64/GO-ISO, as LTX files use it.

use crc_fast::{CrcAlgorithm, Digest};

/// Set in every checksum that a file states.
pub(crate) const FLAG: u64 = 1 << 63;

/// A running file checksum.
#[derive(Clone, Debug)]
pub(crate) struct FileChecksum(Digest);

impl FileChecksum {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64GoIso))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finalize() | FLAG
    }
}

/// The checksum of one page, which files in checksum mode combine into one for the database.
pub(crate) fn page(pgno: u32, page: &[u8]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64GoIso);
    digest.update(&pgno.to_be_bytes());
    digest.update(page);
    digest.finalize() | FLAG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_come_out() {
        let crc = |bytes: &[u8]| crc_fast::checksum(CrcAlgorithm::Crc64GoIso, bytes);
        assert_eq!(crc(b"123456789"), 0xb909_56c7_75a4_1001);
        assert_eq!(crc(b"a"), 0x3420_0000_0000_0000);
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(&[0; 100]), 0xaca9_9cff_9690_6906);
        assert_eq!(page(1, &[0; 512]), 0xefb1_f44f_ecd9_9000);
        assert_eq!(page(2, &[0; 512]), 0xef63_e89f_ecd9_9000);
        assert_eq!(
            (page(1, &[0; 512]) ^ page(2, &[0; 512])) | FLAG,
            0x80d2_1cd0_0000_0000
        );
    }
}
