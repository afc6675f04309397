/// Why bytes are not an LTX file, a log or a database header.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A page size field names no valid size.
    #[error("invalid page size {0} (expected a power of two from 512 to 65536)")]
    PageSize(u32),
    /// The first bytes are not those of this kind of file.
    #[error("the file starts with {found:02x?}, not with {expected}")]
    Magic {
        /// What is there.
        found: [u8; 4],
        /// What should be there.
        expected: &'static str,
    },
    /// The header has flags that no version of the format defines.
    #[error("invalid flags {0:#010x}")]
    Flags(u32),
    /// A field of the header contradicts another or is out of range.
    #[error("invalid header: {0}")]
    Header(&'static str),
    /// A page stands where it may not.
    #[error("page {pgno}: {reason}")]
    Page {
        /// Its number.
        pgno: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// The page index is not well-formed.
    #[error("invalid page index: {0}")]
    Index(&'static str),
    /// The content is not what was written.
    #[error("file checksum mismatch: stated {stated:016x}, computed {computed:016x}")]
    Checksum {
        /// In the trailer.
        stated: u64,
        /// From the content.
        computed: u64,
    },
    /// The pages of a file in checksum mode do not have the checksum it states.
    #[error("post-apply checksum mismatch: stated {stated:016x}, computed {computed:016x}")]
    PostApply {
        /// In the trailer.
        stated: u64,
        /// From the pages.
        computed: u64,
    },
    /// The file ends too early.
    #[error("the file is cut short after {0} bytes")]
    Truncated(u64),
    /// Bytes follow the trailer.
    #[error("bytes follow the end of the file")]
    TrailingBytes,
    /// The checksum of a log's header is wrong.
    #[error("the checksum of the log header is wrong")]
    WalHeaderChecksum,
}

/// Why pages cannot be written as an LTX file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No reader would accept the header.
    #[error("invalid header: {0}")]
    Header(&'static str),
    /// The page breaks a rule of the format.
    #[error("page {pgno}: {reason}")]
    Page {
        /// Its number.
        pgno: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// A snapshot ends before its last page.
    #[error("the snapshot lacks page {0}")]
    Incomplete(u32),
    /// The LZ4 encoder failed.
    #[error("page {0} cannot be compressed")]
    Compress(u32),
}
