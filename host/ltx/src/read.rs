use std::io::{self, Read};

use crate::{DecodeError, Decoder, Header, Pgno, Step};

/// Bytes that are asked for at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes did not come.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no valid file.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A [`Decoder`] over anything that can be read.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// The part of `buffer` that was read and not yet decoded.
    start: usize,
    end: usize,
    header: Option<Header>,
    checksum: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// A reader at the start of a file.
    pub fn new(source: R) -> Self {
        Self {
            source,
            decoder: Decoder::new(),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            header: None,
            checksum: None,
        }
    }

    /// The header of the file.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it cannot be read or is not valid.
    pub fn header(&mut self) -> Result<&Header, ReadError> {
        while self.header.is_none() {
            let available = self.buffer.get(self.start..self.end).unwrap_or_default();
            let mut input = available;
            let header = match self.decoder.step(&mut input)? {
                Step::Header(header) => Some(header),
                _ => None,
            };
            self.start = self.end.saturating_sub(input.len());
            self.header = header;
            if self.header.is_none() {
                self.refill()?;
            }
        }
        self.header
            .as_ref()
            .ok_or(ReadError::Decode(DecodeError::Truncated(0)))
    }

    /// The next page; `None` once the whole file was read and its checksum is right.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the file cannot be read to its end or is not valid.
    pub fn next_page(&mut self) -> Result<Option<(Pgno, &[u8])>, ReadError> {
        self.header()?;
        if self.checksum.is_some() {
            return Ok(None);
        }
        let pgno = loop {
            let available = self.buffer.get(self.start..self.end).unwrap_or_default();
            let mut input = available;
            let found = match self.decoder.step(&mut input)? {
                Step::Page(pgno, _) => Some(Some(pgno)),
                Step::End(checksum) => {
                    self.checksum = Some(checksum);
                    Some(None)
                }
                Step::NeedMore | Step::Header(_) => None,
            };
            self.start = self.end.saturating_sub(input.len());
            match found {
                Some(Some(pgno)) => break pgno,
                Some(None) => {
                    self.expect_end()?;
                    return Ok(None);
                }
                None => self.refill()?,
            }
        };
        Ok(Some((pgno, self.decoder.page())))
    }

    /// The file checksum, once [`Reader::next_page`] returned `None`.
    #[must_use]
    pub fn checksum(&self) -> Option<u64> {
        self.checksum
    }

    fn expect_end(&mut self) -> Result<(), ReadError> {
        if self.start < self.end || self.read()? > 0 {
            return Err(DecodeError::TrailingBytes.into());
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), ReadError> {
        if self.read()? == 0 {
            self.decoder.end_of_input()?;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(len) => {
                    (self.start, self.end) = (0, len);
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
