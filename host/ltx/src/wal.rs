//! SQLite's write-ahead log (SQLite file format, section 4).

use crate::cursor::Cursor;
use crate::{DecodeError, PageSize, Pgno};

/// Bytes of the header at the start of a log.
pub const WAL_HEADER_LEN: usize = 32;
/// Bytes of the header before each page of a log.
pub const FRAME_HEADER_LEN: usize = 24;

/// The only version of the log format there is.
const FORMAT_VERSION: u32 = 3_007_000;

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
    pub fn parse(bytes: &[u8; WAL_HEADER_LEN]) -> Result<Self, DecodeError> {
        let mut fields = Cursor(bytes);
        let order = match fields.u32()? {
            0x377f_0682 => ChecksumOrder::Little,
            0x377f_0683 => ChecksumOrder::Big,
            other => return Err(DecodeError::Magic(other)),
        };
        let version = fields.u32()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Version(version));
        }
        let page_size = PageSize::new(fields.u32()?)?;
        let checkpoint_seq = fields.u32()?;
        let (salt1, salt2) = (fields.u32()?, fields.u32()?);
        let checksum = [fields.u32()?, fields.u32()?];
        let summed = bytes.get(..24).unwrap_or_default();
        if add_checksum(order, [0, 0], summed) != checksum {
            return Err(DecodeError::WalChecksum);
        }
        Ok(Self {
            order,
            page_size,
            checkpoint_seq,
            salt1,
            salt2,
            checksum,
        })
    }
}

/// Where frame `index` (from 0) begins, in bytes from the start of the log.
#[must_use]
pub fn frame_offset(index: u64, page_size: PageSize) -> u64 {
    (WAL_HEADER_LEN as u64).saturating_add(
        index.saturating_mul(u64::from(page_size.get()).saturating_add(FRAME_HEADER_LEN as u64)),
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
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # // The log of one transaction with one page, as SQLite writes it.
/// # fn sum([mut a, mut b]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
/// #     for word in bytes.as_chunks::<8>().0 {
/// #         let [first, second] = [&word[..4], &word[4..]]
/// #             .map(|half| u32::from_be_bytes(half.try_into().expect("four bytes")));
/// #         a = a.wrapping_add(first).wrapping_add(b);
/// #         b = b.wrapping_add(second).wrapping_add(a);
/// #     }
/// #     [a, b]
/// # }
/// # fn words(words: &[u32]) -> Vec<u8> {
/// #     words.iter().flat_map(|word| word.to_be_bytes()).collect()
/// # }
/// # let mut log = words(&[0x377f_0683, 3_007_000, 512, 0, 1, 2]);
/// # let first = sum([0, 0], &log);
/// # log.extend(words(&first));
/// # let page = [7; 512];
/// # let second = sum(sum(first, &words(&[1, 1])), &page);
/// # log.extend(words(&[1, 1, 1, 2]));
/// # log.extend(words(&second));
/// # log.extend(page);
/// use lockkeeper_ltx::wal::{
///     FRAME_HEADER_LEN, Next, WAL_HEADER_LEN, WalHeader, WalReader, frame_offset, stored_checksum,
/// };
///
/// let (head, mut frames) = log.split_first_chunk::<WAL_HEADER_LEN>().expect("a log");
/// let header = WalHeader::parse(head)?;
/// let frame_header = *frames.first_chunk::<FRAME_HEADER_LEN>().expect("a frame");
/// let mut reader = WalReader::new(&header);
/// match reader.next(&mut frames) {
///     Next::Frame(frame) => assert_eq!((frame.pgno.get(), frame.commit), (1, Some(1))),
///     Next::NeedMore | Next::EndOfLog => unreachable!(),
/// }
/// assert_eq!(reader.next(&mut frames), Next::NeedMore);
///
/// // A later reader goes on from there.
/// assert_eq!(reader.checksum(), stored_checksum(&frame_header));
/// let later = WalReader::resume(&header, reader.frames(), reader.checksum());
/// assert_eq!(later.frames(), 1);
/// assert_eq!(frame_offset(1, header.page_size), log.len() as u64);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WalReader {
    order: ChecksumOrder,
    page_size: PageSize,
    salt1: u32,
    salt2: u32,
    checksum: [u32; 2],
    frames: u64,
}

impl WalReader {
    /// A reader before the first frame.
    #[must_use]
    pub fn new(header: &WalHeader) -> Self {
        Self::resume(header, 0, header.checksum)
    }

    /// A reader before the frame that follows one whose stored checksum is `previous`.
    #[must_use]
    pub fn resume(header: &WalHeader, frames: u64, previous: [u32; 2]) -> Self {
        let &WalHeader {
            order,
            page_size,
            salt1,
            salt2,
            ..
        } = header;
        Self {
            order,
            page_size,
            salt1,
            salt2,
            checksum: previous,
            frames,
        }
    }

    /// Takes one frame from the front of `input`. Takes nothing unless it returns a frame.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Next<'a> {
        let Some((header, rest)) = input.split_first_chunk::<FRAME_HEADER_LEN>() else {
            return Next::NeedMore;
        };
        let Some((page, rest)) = rest.split_at_checked(self.page_size.bytes()) else {
            return Next::NeedMore;
        };
        let Ok((frame, checksum)) = self.parse(header, page) else {
            return Next::EndOfLog;
        };
        self.checksum = checksum;
        self.frames = self.frames.saturating_add(1);
        *input = rest;
        Next::Frame(frame)
    }

    fn parse<'a>(
        &self,
        header: &[u8; FRAME_HEADER_LEN],
        page: &'a [u8],
    ) -> Result<(Frame<'a>, [u32; 2]), DecodeError> {
        let mut fields = Cursor(header);
        let (pgno, commit) = (fields.u32()?, fields.u32()?);
        let salts = (fields.u32()?, fields.u32()?);
        if salts != (self.salt1, self.salt2) {
            return Err(DecodeError::WalChecksum);
        }
        let stored = stored_checksum(header);
        let pgno = Pgno::new(pgno).ok_or(DecodeError::WalChecksum)?;
        let summed = header.get(..8).unwrap_or_default();
        let checksum = add_checksum(self.order, self.checksum, summed);
        if add_checksum(self.order, checksum, page) != stored {
            return Err(DecodeError::WalChecksum);
        }
        let commit = (commit != 0).then_some(commit);
        Ok((Frame { pgno, commit, page }, stored))
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

/// The checksum that the header of a frame states: that of the log up to the end of the frame.
#[must_use]
pub fn stored_checksum(header: &[u8; FRAME_HEADER_LEN]) -> [u32; 2] {
    let &[.., a, b, c, d, e, f, g, h] = header;
    [
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    ]
}

/// Extends a checksum over `bytes`, whose length is a multiple of 8 (SQLite file format,
/// section 4.2).
pub(crate) fn add_checksum(
    order: ChecksumOrder,
    [mut s0, mut s1]: [u32; 2],
    bytes: &[u8],
) -> [u32; 2] {
    for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        let (first, second) = match order {
            ChecksumOrder::Little => (
                u32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            ),
            ChecksumOrder::Big => (
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]),
            ),
        };
        s0 = s0.wrapping_add(first).wrapping_add(s1);
        s1 = s1.wrapping_add(second).wrapping_add(s0);
    }
    [s0, s1]
}
