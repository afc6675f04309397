//! The first 100 bytes of a SQLite database file (SQLite file format, section 1.3).

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
    pub fn parse(_bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}
