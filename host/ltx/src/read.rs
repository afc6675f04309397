use std::io::{self, Read};

use crate::{DecodeError, Decoder, Header, PageIndex, Pgno, Step};

/// Bytes asked for at once: large enough that system calls do not count, small enough that a merge
/// of hundreds of files stays small.
const BUFFER_LEN: usize = 32 << 10;

/// Why an LTX file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes could not be read.
    #[error("cannot read the LTX file")]
    Io(#[from] io::Error),
    /// The bytes are not a valid file.
    #[error("the LTX file is invalid: {0}")]
    Decode(#[from] DecodeError),
}

/// Pulls one LTX file from a source of bytes, through a fixed buffer.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use lockkeeper_ltx::{Encoder, Header, PageEncoding, PageSize, Pgno, TxidRange, Txid, WalSpan};
/// # let range = TxidRange::single(Txid::FIRST);
/// # let header = Header::new(PageSize::new(512)?, 1, range, 0, WalSpan::default());
/// # let mut file = Vec::new();
/// # let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file)?;
/// # encoder.page(Pgno::FIRST, &[7; 512], &mut file)?;
/// # encoder.finish(&mut file)?;
/// use lockkeeper_ltx::Reader;
///
/// let mut reader = Reader::with_index(file.as_slice());
/// assert_eq!(reader.header()?.commit, 1);
/// while let Some((pgno, content)) = reader.next_page()? {
///     println!("page {pgno}: {} bytes", content.len());
/// }
/// assert!(reader.checksum().is_some()); // everything was read and verified
/// let index = reader.index().expect("kept");
/// assert_eq!(index.entries().len(), 1);
/// let rest = reader.into_inner();
/// assert!(rest.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    decoder: Decoder,
    buf: Vec<u8>,
    /// The part of `buf` that is not decoded yet.
    start: usize,
    end: usize,
    header: Option<Header>,
    checksum: Option<u64>,
    index: Option<PageIndex>,
}

/// [`Step`] without its borrow.
enum Pulled {
    Header(Header),
    Page(Pgno),
    End,
}

impl<R: Read> Reader<R> {
    /// A reader at the start of a file. It keeps no index.
    #[must_use]
    pub fn new(source: R) -> Self {
        Self::from_decoder(source, Decoder::without_index())
    }

    /// A reader that keeps the index, for [`index`](Self::index).
    #[must_use]
    pub fn with_index(source: R) -> Self {
        Self::from_decoder(source, Decoder::new())
    }

    fn from_decoder(source: R, decoder: Decoder) -> Self {
        let buf = vec![0; BUFFER_LEN];
        let (header, checksum, index) = (None, None, None);
        Self {
            source,
            decoder,
            buf,
            start: 0,
            end: 0,
            header,
            checksum,
            index,
        }
    }

    /// The header, read when first asked for.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it cannot be read or is invalid.
    pub fn header(&mut self) -> Result<Header, ReadError> {
        if let Some(header) = self.header {
            return Ok(header);
        }
        match self.pull()? {
            Pulled::Header(header) => {
                self.header = Some(header);
                Ok(header)
            }
            // The decoder finds the header first or fails.
            Pulled::Page(_) | Pulled::End => Err(DecodeError::Truncated.into()),
        }
    }

    /// The next page, in ascending order. After `None` the whole file was read and verified.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the file cannot be read or is invalid.
    pub fn next_page(&mut self) -> Result<Option<(Pgno, &[u8])>, ReadError> {
        Ok(self
            .next_pgno()?
            .map(|pgno| (pgno, self.decoder.current_page())))
    }

    /// The file checksum; `None` until [`next_page`](Self::next_page) returned `None`.
    #[must_use]
    pub fn checksum(&self) -> Option<u64> {
        self.checksum
    }

    /// Where each page stands, for a reader made [`with_index`](Self::with_index) that is at the
    /// end; empty for other readers.
    #[must_use]
    pub fn index(&self) -> Option<&PageIndex> {
        self.index.as_ref()
    }

    /// Gives the source back.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.source
    }

    pub(crate) fn next_pgno(&mut self) -> Result<Option<Pgno>, ReadError> {
        self.header()?;
        if self.checksum.is_some() {
            return Ok(None);
        }
        match self.pull()? {
            Pulled::Page(pgno) => Ok(Some(pgno)),
            Pulled::Header(_) | Pulled::End => Ok(None),
        }
    }

    /// The page that was found last.
    pub(crate) fn current_page(&self) -> &[u8] {
        self.decoder.current_page()
    }

    fn pull(&mut self) -> Result<Pulled, ReadError> {
        let mut ended = None;
        loop {
            if self.start == self.end {
                (self.start, self.end) = (0, self.read()?);
                if self.end == 0 {
                    self.decoder.end_of_input()?;
                    self.checksum = ended;
                    return Ok(Pulled::End);
                }
            }
            let mut input = self.buf.get(self.start..self.end).unwrap_or_default();
            let step = self.decoder.step(&mut input)?;
            self.start = self.end.saturating_sub(input.len());
            match step {
                Step::NeedMore => {}
                Step::Header(header) => return Ok(Pulled::Header(header)),
                Step::Page(pgno, _) => return Ok(Pulled::Page(pgno)),
                // Reads on, to find bytes after the end.
                Step::End { index, checksum } => {
                    self.index = Some(index);
                    ended = Some(checksum);
                }
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.source.read(&mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
