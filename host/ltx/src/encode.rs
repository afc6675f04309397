use crate::{EncodeError, Header, Pgno};

/// How the pages of a file are compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PageEncoding {
    /// One LZ4 block per page: smaller and faster, read by Litestream from 0.5.16 on.
    #[default]
    Block,
    /// One LZ4 frame per page: read by every Litestream 0.5.
    Frame,
}

/// Writes one LTX file, page by page in ascending order, into buffers of the caller.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    /// Starts a file: appends its header to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if no reader would accept the header.
    pub fn new(_header: Header, _encoding: PageEncoding, _out: &mut Vec<u8>) -> Result<Self, EncodeError> {
        todo!()
    }

    /// Appends one page, compressed, to `out`. Pages come in ascending order; a snapshot needs every
    /// page from 1 to `commit` but the lock page.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the page breaks a rule of the format; the file is then unusable.
    pub fn page(&mut self, _pgno: Pgno, _page: &[u8], _out: &mut Vec<u8>) -> Result<(), EncodeError> {
        todo!()
    }

    /// Appends the end of the page block, the index and the trailer to `out`.
    /// Returns the file checksum.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a snapshot lacks a page.
    pub fn finish(self, _out: &mut Vec<u8>) -> Result<u64, EncodeError> {
        todo!()
    }
}
