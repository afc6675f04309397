use crate::{DecodeError, PageSize, Pgno, Txid, TxidRange};

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
    /// Whether the file states checksums of the database, as LiteFS does and Litestream does not.
    pub checksum_mode: bool,
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

const MAGIC: [u8; 4] = *b"LTX1";
const FLAG_NO_CHECKSUM: u32 = 1 << 1;

impl Header {
    /// The header of a file as lockkeeper and Litestream write it: without database checksums.
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

    /// Parses the first [`HEADER_LEN`] bytes of a file.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says which field is wrong.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let magic = fields.take::<4>();
        if magic != MAGIC {
            return Err(DecodeError::Magic {
                found: magic,
                expected: "LTX1",
            });
        }
        let flags = fields.u32();
        if flags & !FLAG_NO_CHECKSUM != 0 {
            return Err(DecodeError::Flags(flags));
        }
        let checksum_mode = flags & FLAG_NO_CHECKSUM == 0;
        let page_size = PageSize::new(fields.u32())?;
        let commit = fields.u32();
        let range = range(fields.u64(), fields.u64())?;
        let timestamp_ms = i64::from_be_bytes(fields.take());
        let pre_apply = fields.u64();
        let non_negative = |raw: u64, what| {
            i64::try_from(raw)
                .map(i64::unsigned_abs)
                .map_err(|_| DecodeError::Header(what))
        };
        let wal = WalSpan {
            offset: non_negative(fields.u64(), "the WAL offset is negative")?,
            size: non_negative(fields.u64(), "the WAL size is negative")?,
            salt1: fields.u32(),
            salt2: fields.u32(),
        };
        let header = Self {
            page_size,
            commit,
            range,
            timestamp_ms,
            wal,
            node_id: fields.u64(),
            checksum_mode,
            pre_apply_checksum: (pre_apply != 0).then_some(pre_apply),
        };
        header.check().map_err(DecodeError::Header)?;
        Ok(header)
    }

    /// The rules between fields.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let wal = self.wal;
        if (wal.salt1 != 0 || wal.salt2 != 0) && wal.offset == 0 {
            return Err("salts are set and the WAL offset is not");
        }
        if wal.size != 0 && wal.offset == 0 {
            return Err("the WAL size is set and the WAL offset is not");
        }
        match (
            self.checksum_mode,
            self.is_snapshot(),
            self.pre_apply_checksum,
        ) {
            (_, true, Some(_)) => Err("a snapshot has a pre-apply checksum"),
            (false, _, Some(_)) => Err("a pre-apply checksum is set in a file without checksums"),
            (true, false, None) => Err("the pre-apply checksum is missing"),
            (true, false, Some(sum)) if sum & crate::checksum::FLAG == 0 => {
                Err("the pre-apply checksum lacks its flag")
            }
            _ => Ok(()),
        }
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let flags = if self.checksum_mode {
            0
        } else {
            FLAG_NO_CHECKSUM
        };
        let mut bytes = [0; HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(field.len())
            {
                head.copy_from_slice(field);
                rest = tail;
            }
        };
        put(&MAGIC);
        put(&flags.to_be_bytes());
        put(&self.page_size.get().to_be_bytes());
        put(&self.commit.to_be_bytes());
        put(&self.range.min().get().to_be_bytes());
        put(&self.range.max().get().to_be_bytes());
        put(&self.timestamp_ms.to_be_bytes());
        put(&self.pre_apply_checksum.unwrap_or(0).to_be_bytes());
        put(&self.wal.offset.to_be_bytes());
        put(&self.wal.size.to_be_bytes());
        put(&self.wal.salt1.to_be_bytes());
        put(&self.wal.salt2.to_be_bytes());
        put(&self.node_id.to_be_bytes());
        bytes
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

fn range(min: u64, max: u64) -> Result<TxidRange, DecodeError> {
    let (Some(min), Some(max)) = (Txid::new(min), Txid::new(max)) else {
        return Err(DecodeError::Header("a transaction id is 0"));
    };
    TxidRange::new(min, max).ok_or(DecodeError::Header("transaction ids are out of order"))
}

/// Takes big-endian fields off the front of a header that is long enough for all of them.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}
