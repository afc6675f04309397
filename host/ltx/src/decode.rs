use crate::{DecodeError, Header, PageIndex, Pgno};

/// What [`Decoder::step`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// The input is used up and the file goes on: call again with more bytes.
    NeedMore,
    /// The header; always first.
    Header(Header),
    /// The next page, uncompressed.
    Page(Pgno, &'a [u8]),
    /// The file is complete and its checksum is right. Bytes after this are an error.
    End {
        /// Where each page stands in the file.
        index: PageIndex,
        /// The file checksum of the trailer.
        checksum: u64,
    },
}

/// Reads one LTX file from bytes that arrive in pieces of any size. Memory is bounded by a page and
/// the index, whatever the bytes say.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    /// A decoder at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` and returns the next thing found.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] at the first byte that cannot belong to a valid file; the decoder is then
    /// unusable and repeats the error.
    pub fn step(&mut self, _input: &mut &[u8]) -> Result<Step<'_>, DecodeError> {
        todo!()
    }

    /// Tells the decoder that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] unless the file was complete.
    pub fn end_of_input(&self) -> Result<(), DecodeError> {
        todo!()
    }
}
