//! LTX files and the SQLite write-ahead log, as bytes.
//!
//! An LTX file holds the pages that one or more transactions left behind; a Litestream 0.5 replica
//! is a folder of them. This crate reads and writes these files, merges them, and reads the log
//! they are made from. It does no I/O: bytes come in and go out through slices and buffers that
//! the caller owns, so that every rule here can be tested, fuzzed and timed without a disk.
//!
//! The vocabulary is [`PageSize`], [`Pgno`], [`Txid`], [`TxidRange`], [`Level`] and [`FileName`];
//! the work is done by [`Encoder`], [`Decoder`], [`Merge`] and [`wal::WalReader`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod checksum;
mod cursor;
mod decode;
mod encode;
mod error;
mod header;
mod index;
mod lz4;
mod merge;
mod name;
mod page;
mod read;
pub mod sqlite;
mod txid;
pub mod wal;
mod wal_index;

pub use decode::{Decoder, Step};
pub use encode::{Encoder, PageEncoding};
pub use error::{DecodeError, EncodeError};
pub use header::{HEADER_LEN, Header, TRAILER_LEN, WalSpan};
pub use index::{IndexEntry, PageIndex};
pub use merge::{Merge, MergeError};
pub use name::{FileName, Level};
pub use page::{PageSize, Pgno};
pub use read::{ReadError, Reader};
pub use txid::{Txid, TxidRange};
pub use wal_index::{WAL_INDEX_BLOCK_LEN, WAL_INDEX_LEN, WalIndexHeader, wal_index_place};
