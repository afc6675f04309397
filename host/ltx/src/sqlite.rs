//! The first 100 bytes of a SQLite database file (SQLite file format, section 1.3).

use crate::header::Fields;
use crate::{DecodeError, PageSize};

/// Bytes of the database header.
pub const HEADER_LEN: usize = 100;

/// The fields of a database header that replication needs.
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
        let header = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or(DecodeError::Truncated(bytes.len() as u64))?;
        let mut fields = Fields(header);
        if fields.take::<16>() != *b"SQLite format 3\0" {
            return Err(DecodeError::Magic {
                found: Fields(header).take(),
                expected: "SQLite format 3",
            });
        }
        let page_size = PageSize::from_database_header(u16::from_be_bytes(fields.take()))?;
        let versions = fields.take::<2>();
        let _reserved_to_counter = fields.take::<8>();
        Ok(Self {
            page_size,
            is_wal: versions == [2, 2],
            page_count: fields.u32(),
        })
    }
}
