use crc_fast::{CrcAlgorithm, Digest};

use crate::Pgno;

/// Set in every checksum of the format, so that none is zero.
pub(crate) const CHECKSUM_FLAG: u64 = 1 << 63;

/// A running CRC-64/GO-ISO.
#[derive(Clone, Debug)]
pub(crate) struct Crc(Digest);

impl Crc {
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64GoIso))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.finalize()
    }

    pub(crate) fn flagged(&self) -> u64 {
        self.value() | CHECKSUM_FLAG
    }
}

/// The checksum of a whole database: order-independent over its pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling(u64);

impl Rolling {
    pub(crate) fn new() -> Self {
        Self(CHECKSUM_FLAG)
    }

    pub(crate) fn add(&mut self, pgno: Pgno, page: &[u8]) {
        let mut crc = Crc::new();
        crc.update(&pgno.get().to_be_bytes());
        crc.update(page);
        self.0 = (self.0 ^ crc.flagged()) | CHECKSUM_FLAG;
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_the_published_values() {
        for (bytes, want) in [
            (&b"123456789"[..], 0xb909_56c7_75a4_1001),
            (b"a", 0x3420_0000_0000_0000),
            (b"", 0),
            (&[0; 100], 0xaca9_9cff_9690_6906),
        ] {
            let mut crc = Crc::new();
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            crc.update(head);
            crc.update(tail);
            assert_eq!(crc.value(), want, "{bytes:?}");
        }
    }

    #[test]
    fn the_database_checksum_has_the_published_values() {
        let mut rolling = Rolling::new();
        rolling.add(Pgno::FIRST, &[0; 512]);
        assert_eq!(rolling.value(), 0xefb1_f44f_ecd9_9000);
        rolling.add(Pgno::new(2).unwrap(), &[0; 512]);
        assert_eq!(rolling.value(), 0x80d2_1cd0_0000_0000);
    }
}
