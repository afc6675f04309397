/// Why bytes are not an LTX file, a log or a database header.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A page size field names no valid size.
    #[error("invalid page size {0} (expected a power of two from 512 to 65536)")]
    PageSize(u32),
}

/// Why pages cannot be written as an LTX file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {}
