//! SQLite's write-ahead log (SQLite file format, section 4).

use crate::{DecodeError, PageSize, Pgno};

/// Bytes of the header at the start of a log.
pub const WAL_HEADER_LEN: usize = 32;
/// Bytes of the header before each page of a log.
pub const FRAME_HEADER_LEN: usize = 24;

/// Which byte order the checksums of a log use, as its magic number says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChecksumOrder {
    /// Magic `377f0682`.
    Little,
    /// Magic `377f0683`.
    Big,
}

/// The header of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WalHeader {
    /// Byte order of the checksums.
    pub order: ChecksumOrder,
    /// Bytes per page.
    pub page_size: PageSize,
    /// Counts the restarts of the log.
    pub checkpoint_seq: u32,
    /// Grows by one at each restart.
    pub salt1: u32,
    /// Random at each restart.
    pub salt2: u32,
    /// Checksum of the header, from which the frames go on.
    pub checksum: [u32; 2],
}

impl WalHeader {
    /// Parses the first [`WAL_HEADER_LEN`] bytes of a log and verifies their checksum.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if they are not a valid header.
    pub fn parse(_bytes: &[u8; WAL_HEADER_LEN]) -> Result<Self, DecodeError> {
        todo!()
    }
}

/// Where frame `index` (from 0) begins, in bytes from the start of the log.
#[must_use]
pub fn frame_offset(index: u64, page_size: PageSize) -> u64 {
    (WAL_HEADER_LEN as u64)
        .saturating_add(index.saturating_mul(FRAME_HEADER_LEN as u64 + u64::from(page_size.get())))
}

/// One frame of a log: a page as one transaction left it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// The page.
    pub pgno: Pgno,
    /// Size of the database in pages if the frame ends a transaction.
    pub commit: Option<u32>,
    /// Content of the page.
    pub page: &'a [u8],
}

/// What [`WalReader::next`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next<'a> {
    /// A valid frame.
    Frame(Frame<'a>),
    /// The input is used up; the next frame needs more bytes.
    NeedMore,
    /// The bytes at this place do not continue the log: its salts or its checksum are others.
    /// Every log ends like this, so it is no error.
    EndOfLog,
}

/// Walks the frames of a log in order and verifies salts and checksums.
#[derive(Clone, Debug)]
pub struct WalReader {}

impl WalReader {
    /// A reader before the first frame.
    #[must_use]
    pub fn new(_header: &WalHeader) -> Self {
        todo!()
    }

    /// A reader before the frame that follows one whose stored checksum is `previous`.
    #[must_use]
    pub fn resume(_header: &WalHeader, _frames: u64, _previous: [u32; 2]) -> Self {
        todo!()
    }

    /// Takes one frame from the front of `input`.
    pub fn next<'a>(&mut self, _input: &mut &'a [u8]) -> Next<'a> {
        todo!()
    }

    /// How many frames were taken, from the start of the log.
    #[must_use]
    pub fn frames(&self) -> u64 {
        todo!()
    }

    /// The running checksum, to resume from.
    #[must_use]
    pub fn checksum(&self) -> [u32; 2] {
        todo!()
    }
}
