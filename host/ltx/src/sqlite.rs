//! The first 100 bytes of a SQLite database file (SQLite file format, section 1.3).

use crate::cursor::Cursor;
use crate::{DecodeError, PageSize};

/// Bytes of the database header.
pub const HEADER_LEN: usize = 100;

/// The fields of a database header that replication needs.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::sqlite::{DatabaseHeader, HEADER_LEN};
///
/// let mut bytes = b"SQLite format 3\0\x10\x00\x02\x02".to_vec(); // 4096 bytes a page, WAL
/// bytes.resize(HEADER_LEN, 0);
/// let header = DatabaseHeader::parse(&bytes)?;
/// assert!(header.is_wal && header.page_size.bytes() == 4096);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DatabaseHeader {
    /// Bytes per page.
    pub page_size: PageSize,
    /// Whether the database is in WAL mode (bytes 18 and 19 are 2).
    pub is_wal: bool,
    /// The in-header database size in pages.
    pub page_count: u32,
}

impl DatabaseHeader {
    /// Parses the start of a database file.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if these are not the bytes of a SQLite database.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = bytes.get(..HEADER_LEN).ok_or(DecodeError::Truncated)?;
        let rest = bytes
            .strip_prefix(b"SQLite format 3\0")
            .ok_or(DecodeError::NotADatabase)?;
        let page_size = PageSize::from_database_header(Cursor(rest).u16()?)?;
        let versions = bytes.get(18..20).ok_or(DecodeError::Truncated)?;
        let page_count = Cursor(bytes.get(28..).ok_or(DecodeError::Truncated)?).u32()?;
        Ok(Self {
            page_size,
            is_wal: versions == [2, 2],
            page_count,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_database_header_says_page_size_mode_and_page_count() {
        let mut bytes = b"SQLite format 3\0\0\x01\x02\x02".to_vec();
        bytes.resize(HEADER_LEN, 0);
        bytes[31] = 7;
        let header = DatabaseHeader::parse(&bytes).unwrap();
        assert_eq!(
            (header.page_size.get(), header.is_wal, header.page_count),
            (65_536, true, 7)
        );
        assert_eq!(
            DatabaseHeader::parse(&bytes[..99]),
            Err(DecodeError::Truncated)
        );
        bytes[0] = b'T';
        assert_eq!(
            DatabaseHeader::parse(&bytes),
            Err(DecodeError::NotADatabase)
        );
    }
}
