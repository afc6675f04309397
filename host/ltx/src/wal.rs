//! SQLite's write-ahead log (SQLite file format, section 4).

use crate::header::Fields;
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

/// Version of the log format; the only one there is.
const VERSION: u32 = 3_007_000;
const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;

impl WalHeader {
    /// Parses the first [`WAL_HEADER_LEN`] bytes of a log and verifies their checksum.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if they are not a valid header.
    pub fn parse(bytes: &[u8; WAL_HEADER_LEN]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<4>();
        let order = match u32::from_be_bytes(magic) {
            MAGIC_LITTLE => ChecksumOrder::Little,
            MAGIC_BIG => ChecksumOrder::Big,
            _ => {
                return Err(DecodeError::Magic {
                    found: magic,
                    expected: "377f0682 or 377f0683",
                });
            }
        };
        if fields.u32() != VERSION {
            return Err(DecodeError::Header("the version of the log is unknown"));
        }
        let header = Self {
            order,
            page_size: PageSize::new(fields.u32())?,
            checkpoint_seq: fields.u32(),
            salt1: fields.u32(),
            salt2: fields.u32(),
            checksum: [fields.u32(), fields.u32()],
        };
        let summed = bytes.get(..WAL_HEADER_LEN - 8).unwrap_or_default();
        if add(order, [0, 0], summed) != header.checksum {
            return Err(DecodeError::WalHeaderChecksum);
        }
        Ok(header)
    }
}

/// Goes on with a checksum over whole pairs of words.
fn add(order: ChecksumOrder, sum: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let word = match order {
        ChecksumOrder::Little => u32::from_le_bytes,
        ChecksumOrder::Big => u32::from_be_bytes,
    };
    let [mut s0, mut s1] = sum;
    let (pairs, _) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in pairs {
        s0 = s0.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(s1);
        s1 = s1.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(s0);
    }
    [s0, s1]
}

/// Where frame `index` (from 0) begins, in bytes from the start of the log.
#[must_use]
pub fn frame_offset(index: u64, page_size: PageSize) -> u64 {
    (WAL_HEADER_LEN as u64).saturating_add(
        index.saturating_mul((FRAME_HEADER_LEN as u64).saturating_add(u64::from(page_size.get()))),
    )
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
#[derive(Clone, Copy, Debug)]
pub struct WalReader {
    order: ChecksumOrder,
    page_size: PageSize,
    salts: [u32; 2],
    checksum: [u32; 2],
    frames: u64,
}

impl WalReader {
    /// A reader before the first frame.
    #[must_use]
    pub fn new(header: &WalHeader) -> Self {
        Self::resume(header, 0, header.checksum)
    }

    /// A reader before the frame that follows `frames` others, the last of which stores the
    /// checksum `previous`.
    #[must_use]
    pub fn resume(header: &WalHeader, frames: u64, previous: [u32; 2]) -> Self {
        Self {
            order: header.order,
            page_size: header.page_size,
            salts: [header.salt1, header.salt2],
            checksum: previous,
            frames,
        }
    }

    /// Takes one frame from the front of `input`.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Next<'a> {
        let len = FRAME_HEADER_LEN.saturating_add(self.page_size.bytes());
        let Some((frame, rest)) = input.split_at_checked(len) else {
            return Next::NeedMore;
        };
        let Some((header, page)) = frame.split_first_chunk::<FRAME_HEADER_LEN>() else {
            return Next::NeedMore;
        };
        let mut fields = Fields(header);
        let (pgno, commit) = (fields.u32(), fields.u32());
        let (salts, stored) = ([fields.u32(), fields.u32()], [fields.u32(), fields.u32()]);
        let summed = header.first_chunk::<8>().map_or(&[][..], |bytes| bytes);
        let checksum = add(self.order, add(self.order, self.checksum, summed), page);
        let Some(pgno) = Pgno::new(pgno).filter(|_| salts == self.salts && stored == checksum)
        else {
            return Next::EndOfLog;
        };
        self.checksum = checksum;
        self.frames = self.frames.saturating_add(1);
        *input = rest;
        Next::Frame(Frame {
            pgno,
            commit: (commit != 0).then_some(commit),
            page,
        })
    }

    /// How many frames were taken, from the start of the log.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The running checksum, to resume from.
    #[must_use]
    pub fn checksum(&self) -> [u32; 2] {
        self.checksum
    }
}
