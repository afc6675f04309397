use crate::Pgno;

/// Why bytes are not an LTX file, a log or a database header.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A page size field names no valid size.
    #[error("invalid page size {0} (expected a power of two from 512 to 65536)")]
    PageSize(u32),
    /// The bytes end before the file does.
    #[error("the file is truncated")]
    Truncated,
    /// The first bytes are not those of this format.
    #[error("wrong magic number {0:#010x}")]
    Magic(u32),
    /// The format version is not known.
    #[error("unknown format version {0}")]
    Version(u32),
    /// The header has flags other than NoChecksum.
    #[error("invalid header flags {0:#010x}")]
    Flags(u32),
    /// The transaction ids are zero or out of order.
    #[error("invalid transaction ids {min}-{max}")]
    Txids {
        /// The lower id as stored.
        min: u64,
        /// The upper id as stored.
        max: u64,
    },
    /// The checksum of the database before the file is missing, or set where it must not be.
    #[error("invalid pre-apply checksum {0:016x}")]
    PreApplyChecksum(u64),
    /// The checksum of the database after the file does not fit the pages or the mode of the file.
    #[error("post-apply checksum is {stored:016x}, expected {computed:016x}")]
    PostApplyChecksum {
        /// The checksum in the trailer.
        stored: u64,
        /// What it has to be.
        computed: u64,
    },
    /// A field that cannot be negative is.
    #[error("the log offset {offset} or size {size} is negative")]
    WalNegative {
        /// The offset as stored.
        offset: i64,
        /// The size as stored.
        size: i64,
    },
    /// The header names log salts or a log size without a log offset.
    #[error("log salts or size without a log offset")]
    WalOffset,
    /// A page has flags other than "LZ4 block".
    #[error("page {pgno} has invalid flags {flags:#06x}")]
    PageFlags {
        /// The page.
        pgno: u32,
        /// Its flags.
        flags: u16,
    },
    /// A page does not follow the one before it.
    #[error("page {found} is out of order")]
    PageOrder {
        /// The page number in the file.
        found: u32,
    },
    /// The lock page is in the file.
    #[error("the lock page {0} is in the file")]
    LockPage(Pgno),
    /// A snapshot ends before its last page.
    #[error("the snapshot lacks page {0}")]
    MissingPage(u32),
    /// The compressed size of a page is larger than any compressor makes it.
    #[error("page {pgno} claims {size} compressed bytes")]
    CompressedSize {
        /// The page.
        pgno: Pgno,
        /// The size in the file.
        size: u32,
    },
    /// The compressed bytes of a page are damaged, or not exactly a page.
    #[error("page {0} cannot be decompressed")]
    Compression(Pgno),
    /// The index is not a list of numbers that ends.
    #[error("the page index is malformed")]
    Index,
    /// The checksum is not that of the bytes.
    #[error("file checksum is {stored:016x}, expected {computed:016x}")]
    FileChecksum {
        /// The checksum in the file.
        stored: u64,
        /// The checksum of the bytes.
        computed: u64,
    },
    /// Bytes follow the end of the file.
    #[error("bytes follow the end of the file")]
    TrailingBytes,
    /// The checksum of a log header is not that of its bytes.
    #[error("the checksum of the log header is wrong")]
    WalChecksum,
    /// The bytes are not those of a SQLite database.
    #[error("not a SQLite database")]
    NotADatabase,
}

/// Why pages cannot be written as an LTX file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The database would have no pages, which a file without checksums cannot say.
    #[error("a file cannot leave an empty database")]
    EmptyDatabase,
    /// The header asks for checksum mode, which is never written.
    #[error("files in checksum mode are not written")]
    ChecksumMode,
    /// The part of the log has salts or a size without an offset, or is out of range.
    #[error("the log span has salts or a size without an offset, or is out of range")]
    WalSpan,
    /// The page is not as long as the page size.
    #[error("page {pgno} has {len} bytes")]
    PageLen {
        /// The page.
        pgno: Pgno,
        /// Its length.
        len: usize,
    },
    /// The page does not follow the one before it.
    #[error("page {0} is out of order")]
    PageOrder(Pgno),
    /// The page is past the end of the database or the lock page.
    #[error("page {pgno} may not stand in a file with commit {commit}")]
    PageRange {
        /// The page.
        pgno: Pgno,
        /// Size of the database in pages.
        commit: u32,
    },
    /// A snapshot ends before its last page.
    #[error("the snapshot lacks page {0}")]
    MissingPage(u32),
    /// The compressor failed.
    #[error("page {0} cannot be compressed")]
    Compression(Pgno),
}
