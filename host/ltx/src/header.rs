use crate::{DecodeError, PageSize, Pgno, TxidRange};

/// Bytes of the header at the start of an LTX file.
pub const HEADER_LEN: usize = 100;
/// Bytes of the trailer at the end of an LTX file.
pub const TRAILER_LEN: usize = 16;

/// The header of an LTX file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The page size of the database.
    pub page_size: PageSize,
    /// Size of the database in pages after this file; 0 only in files no current program writes.
    pub commit: u32,
    /// What the file covers.
    pub range: TxidRange,
    /// When the file was sealed, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Which part of the log the file was made from.
    pub wal: WalSpan,
    /// Set by other programs; Litestream and lockkeeper write 0.
    pub node_id: u64,
    /// Set only in files in checksum mode, which lockkeeper reads and never writes.
    pub pre_apply_checksum: Option<u64>,
}

/// A run of frames in a write-ahead log. All zero where a file was not made from a log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WalSpan {
    /// Where the frames start, in bytes from the start of the log.
    pub offset: u64,
    /// How many bytes of log they are, frame headers included.
    pub size: u64,
    /// Salt-1 of the log's header.
    pub salt1: u32,
    /// Salt-2 of the log's header.
    pub salt2: u32,
}

impl WalSpan {
    /// The offset after the last frame.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

impl Header {
    /// Parses the first [`HEADER_LEN`] bytes of a file.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says which field is wrong.
    pub fn parse(_bytes: &[u8; HEADER_LEN]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Whether the file holds the whole database.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.range.is_snapshot()
    }

    /// Whether `pgno` may stand in the file: within `commit`, and not the lock page.
    #[must_use]
    pub fn may_hold(&self, pgno: Pgno) -> bool {
        pgno.get() <= self.commit && pgno != self.page_size.lock_page()
    }
}
