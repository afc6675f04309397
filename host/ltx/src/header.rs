use crate::checksum::CHECKSUM_FLAG;
use crate::cursor::Cursor;
use crate::{DecodeError, EncodeError, PageSize, Pgno, Txid, TxidRange};

/// Bytes of the header at the start of an LTX file.
pub const HEADER_LEN: usize = 100;
/// Bytes of the trailer at the end of an LTX file.
pub const TRAILER_LEN: usize = 16;

const MAGIC: u32 = u32::from_be_bytes(*b"LTX1");
const NO_CHECKSUM: u32 = 2;

/// The header of an LTX file.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::{Header, PageSize, Pgno, Txid, TxidRange, WalSpan};
///
/// let range = TxidRange::single(Txid::FIRST);
/// let log = WalSpan { offset: 32, size: 4152, salt1: 1, salt2: 2 }; // one frame
/// let header = Header::new(PageSize::new(4096)?, 10, range, 1_795_449_658_764, log);
/// assert_eq!(Header::parse(&header.encode()?)?, header);
/// assert!(header.is_snapshot() && header.may_hold(Pgno::FIRST));
/// assert_eq!(header.wal.end(), 4184); // where the next file goes on
/// # Ok(())
/// # }
/// ```
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
    /// Whether the file carries checksums of the database, as LiteFS writes them. lockkeeper reads
    /// such files and never writes them.
    pub checksum_mode: bool,
    /// Set exactly in files in checksum mode that are no snapshots.
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

    fn lacks_offset(self) -> bool {
        self.offset == 0 && (self.size != 0 || self.salt1 != 0 || self.salt2 != 0)
    }
}

impl Header {
    /// The header of a file to write: without checksums of the database, node id 0.
    #[must_use]
    pub fn new(
        page_size: PageSize,
        commit: u32,
        range: TxidRange,
        timestamp_ms: i64,
        wal: WalSpan,
    ) -> Self {
        Self {
            page_size,
            commit,
            range,
            timestamp_ms,
            wal,
            node_id: 0,
            checksum_mode: false,
            pre_apply_checksum: None,
        }
    }

    /// Parses the first [`HEADER_LEN`] bytes of a file. The reserved bytes at the end are ignored.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says which field is wrong.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, DecodeError> {
        let mut fields = Cursor(bytes);
        let magic = fields.u32()?;
        if magic != MAGIC {
            return Err(DecodeError::Magic(magic));
        }
        let flags = fields.u32()?;
        if flags & !NO_CHECKSUM != 0 {
            return Err(DecodeError::Flags(flags));
        }
        let checksum_mode = flags == 0;
        let page_size = PageSize::new(fields.u32()?)?;
        let commit = fields.u32()?;
        let (min, max) = (fields.u64()?, fields.u64()?);
        let range = Txid::new(min)
            .zip(Txid::new(max))
            .and_then(|(min, max)| TxidRange::new(min, max))
            .ok_or(DecodeError::Txids { min, max })?;
        let timestamp_ms = fields.i64()?;
        let pre_apply = fields.u64()?;
        let pre_apply_checksum = if checksum_mode && !range.is_snapshot() {
            if pre_apply & CHECKSUM_FLAG == 0 {
                return Err(DecodeError::PreApplyChecksum(pre_apply));
            }
            Some(pre_apply)
        } else if pre_apply != 0 {
            return Err(DecodeError::PreApplyChecksum(pre_apply));
        } else {
            None
        };
        let (offset, size) = (fields.i64()?, fields.i64()?);
        let (Ok(wal_offset), Ok(wal_size)) = (u64::try_from(offset), u64::try_from(size)) else {
            return Err(DecodeError::WalNegative { offset, size });
        };
        let (salt1, salt2) = (fields.u32()?, fields.u32()?);
        let wal = WalSpan {
            offset: wal_offset,
            size: wal_size,
            salt1,
            salt2,
        };
        if wal.lacks_offset() {
            return Err(DecodeError::WalOffset);
        }
        let node_id = fields.u64()?;
        Ok(Self {
            page_size,
            commit,
            range,
            timestamp_ms,
            wal,
            node_id,
            checksum_mode,
            pre_apply_checksum,
        })
    }

    /// The bytes of the header of a file without checksums of the database.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if no reader would accept them.
    pub fn encode(&self) -> Result<[u8; HEADER_LEN], EncodeError> {
        if self.checksum_mode || self.pre_apply_checksum.is_some() {
            return Err(EncodeError::ChecksumMode);
        }
        if self.commit == 0 {
            return Err(EncodeError::EmptyDatabase);
        }
        let (Ok(offset), Ok(size)) = (i64::try_from(self.wal.offset), i64::try_from(self.wal.size))
        else {
            return Err(EncodeError::WalSpan);
        };
        if self.wal.lacks_offset() {
            return Err(EncodeError::WalSpan);
        }
        let mut bytes = [0; HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        for field in [
            &MAGIC.to_be_bytes()[..],
            &NO_CHECKSUM.to_be_bytes(),
            &self.page_size.get().to_be_bytes(),
            &self.commit.to_be_bytes(),
            &self.range.min().get().to_be_bytes(),
            &self.range.max().get().to_be_bytes(),
            &self.timestamp_ms.to_be_bytes(),
            &[0; 8],
            &offset.to_be_bytes(),
            &size.to_be_bytes(),
            &self.wal.salt1.to_be_bytes(),
            &self.wal.salt2.to_be_bytes(),
            &self.node_id.to_be_bytes(),
        ] {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(field.len())
            {
                head.copy_from_slice(field);
                rest = tail;
            }
        }
        Ok(bytes)
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
