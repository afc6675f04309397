use crate::checksum::{Crc, Rolling};
use crate::cursor::Cursor;
use crate::index::{IndexParser, Parsed};
use crate::lz4::{self, FrameReader};
use crate::{DecodeError, HEADER_LEN, Header, IndexEntry, PageIndex, Pgno, TRAILER_LEN};

const PAGE_HEADER_LEN: usize = 6;
const SIZE_PREFIX_LEN: usize = 4;

/// What [`Decoder::step`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// The input is used up and the file goes on: call again with more bytes.
    NeedMore,
    /// The header; always first.
    Header(Header),
    /// The next page, uncompressed. Pages past the header's `commit` are tolerated, as Litestream
    /// does, and are the caller's to drop.
    Page(Pgno, &'a [u8]),
    /// The file is complete and its checksum is right. Bytes after this are an error.
    End {
        /// Where each page was found in the file; what the file's own index says is not trusted.
        index: PageIndex,
        /// The file checksum of the trailer.
        checksum: u64,
    },
}

/// What the bytes in the buffer will be once there are enough of them.
#[derive(Debug)]
enum State {
    Header,
    PageHeader,
    BlockSize(Pgno),
    Block(Pgno),
    Frame(Pgno, FrameReader),
    Index(IndexParser),
    IndexLen,
    Trailer,
    End,
    Failed(DecodeError),
}

/// Reads one LTX file from bytes that arrive in pieces of any size. Memory is bounded by a page and
/// the index, whatever the bytes say.
///
/// Both page encodings may stand in one file. The pages of every file must ascend, and those of a
/// snapshot must be complete.
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
/// use lockkeeper_ltx::{Decoder, Step};
///
/// let mut decoder = Decoder::new(); // or `without_index`
/// let mut pages = 0;
/// for mut piece in file.chunks(10) {
///     loop {
///         match decoder.step(&mut piece)? {
///             Step::NeedMore => break,
///             Step::Header(found) => assert_eq!(found, header),
///             Step::Page(_, content) => pages += content.len() / 512,
///             Step::End { index, .. } => assert_eq!(index.entries().len(), pages),
///         }
///     }
/// }
/// decoder.end_of_input()?; // an error if the file was cut short
/// # assert!(Decoder::without_index().end_of_input().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    need: usize,
    buf: Vec<u8>,
    header: Option<Header>,
    page: Vec<u8>,
    crc: Crc,
    rolling: Option<Rolling>,
    last: Option<Pgno>,
    /// Bytes of the file so far.
    offset: u64,
    page_offset: u64,
    index: Option<PageIndex>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Header,
            need: HEADER_LEN,
            buf: Vec::with_capacity(HEADER_LEN),
            header: None,
            page: Vec::new(),
            crc: Crc::new(),
            rolling: None,
            last: None,
            offset: 0,
            page_offset: 0,
            index: Some(PageIndex::default()),
        }
    }

    /// A decoder that keeps no index, so that its memory is bounded by a page alone.
    /// [`Step::End`] then holds an empty one.
    #[must_use]
    pub fn without_index() -> Self {
        Self {
            index: None,
            ..Self::new()
        }
    }

    /// Takes bytes from the front of `input` and returns the next thing found.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] at the first byte that cannot belong to a valid file; the decoder is then
    /// unusable and repeats the error.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Step<'_>, DecodeError> {
        match self.advance(input) {
            Ok(Found::NeedMore) => Ok(Step::NeedMore),
            Ok(Found::Header(header)) => Ok(Step::Header(header)),
            Ok(Found::Page(pgno)) => Ok(Step::Page(pgno, &self.page)),
            Ok(Found::End { checksum }) => Ok(Step::End {
                index: self.index.take().unwrap_or_default(),
                checksum,
            }),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Tells the decoder that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] unless the file was complete.
    pub fn end_of_input(&self) -> Result<(), DecodeError> {
        match &self.state {
            State::End => Ok(()),
            State::Failed(error) => Err(error.clone()),
            _ => Err(DecodeError::Truncated),
        }
    }

    /// The page that the last step found.
    pub(crate) fn current_page(&self) -> &[u8] {
        &self.page
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Found, DecodeError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(error.clone()),
                State::End if input.is_empty() => return Ok(Found::NeedMore),
                State::End => return Err(DecodeError::TrailingBytes),
                State::Index(parser) => {
                    if !take_index(parser, input, &mut self.crc)? {
                        return Ok(Found::NeedMore);
                    }
                    self.expect(State::IndexLen, 8);
                    continue;
                }
                _ => {}
            }
            if !self.fill(input) {
                return Ok(Found::NeedMore);
            }
            let found = self.parse()?;
            self.buf.clear();
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Fills the buffer; false if the input does not suffice.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let missing = self.need.saturating_sub(self.buf.len());
        let (head, tail) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.buf.extend_from_slice(head);
        self.offset = self.offset.saturating_add(head.len() as u64);
        *input = tail;
        self.buf.len() == self.need
    }

    fn expect(&mut self, state: State, need: usize) {
        (self.state, self.need) = (state, need);
    }

    /// Parses the full buffer.
    fn parse(&mut self) -> Result<Option<Found>, DecodeError> {
        match &mut self.state {
            State::Header => self.header().map(Some),
            State::PageHeader => self.page_header().map(|()| None),
            &mut State::BlockSize(pgno) => self.block_size(pgno).map(|()| None),
            &mut State::Block(pgno) => {
                lz4::decompress_page(&self.buf, &mut self.page)
                    .map_err(|_| DecodeError::Compression(pgno))?;
                Ok(Some(self.page_done(pgno)))
            }
            State::Frame(pgno, frame) => {
                let pgno = *pgno;
                let done = frame
                    .push(&self.buf, &mut self.page)
                    .map_err(|_| DecodeError::Compression(pgno))?;
                if done {
                    return Ok(Some(self.page_done(pgno)));
                }
                self.need = frame.need();
                Ok(None)
            }
            State::IndexLen => {
                self.crc.update(&self.buf);
                self.expect(State::Trailer, TRAILER_LEN);
                Ok(None)
            }
            State::Trailer => self.trailer().map(Some),
            // These take no buffered bytes.
            State::Index(_) | State::End | State::Failed(_) => Ok(None),
        }
    }

    fn header(&mut self) -> Result<Found, DecodeError> {
        let bytes = self
            .buf
            .as_slice()
            .try_into()
            .map_err(|_| DecodeError::Truncated)?;
        let header = Header::parse(bytes)?;
        self.crc.update(&self.buf);
        self.page = vec![0; header.page_size.bytes()];
        // Only the checksum of a snapshot can be computed from the file alone.
        self.rolling = (header.checksum_mode && header.is_snapshot()).then(Rolling::new);
        self.header = Some(header);
        self.expect_page();
        Ok(Found::Header(header))
    }

    fn expect_page(&mut self) {
        self.page_offset = self.offset;
        self.expect(State::PageHeader, PAGE_HEADER_LEN);
    }

    fn page_header(&mut self) -> Result<(), DecodeError> {
        let header = self.header.ok_or(DecodeError::Truncated)?;
        self.crc.update(&self.buf);
        let mut fields = Cursor(&self.buf);
        let (raw, flags) = (fields.u32()?, fields.u16()?);
        let next = header
            .page_size
            .page_after(self.last)
            .map_or(u32::MAX, Pgno::get);
        let Some(pgno) = Pgno::new(raw) else {
            if flags != 0 {
                return Err(DecodeError::PageFlags { pgno: raw, flags });
            }
            if header.is_snapshot() && next <= header.commit {
                return Err(DecodeError::MissingPage(next));
            }
            self.expect(State::Index(IndexParser::default()), 0);
            return Ok(());
        };
        if pgno == header.page_size.lock_page() {
            return Err(DecodeError::LockPage(pgno));
        }
        if self.last.is_some_and(|last| last >= pgno) {
            return Err(DecodeError::PageOrder { found: raw });
        }
        if header.is_snapshot() && raw != next && next <= header.commit {
            return Err(DecodeError::MissingPage(next));
        }
        self.last = Some(pgno);
        match flags {
            0 => {
                let frame = FrameReader::new();
                let need = frame.need();
                self.expect(State::Frame(pgno, frame), need);
            }
            1 => self.expect(State::BlockSize(pgno), SIZE_PREFIX_LEN),
            _ => return Err(DecodeError::PageFlags { pgno: raw, flags }),
        }
        Ok(())
    }

    fn block_size(&mut self, pgno: Pgno) -> Result<(), DecodeError> {
        let header = self.header.ok_or(DecodeError::Truncated)?;
        self.crc.update(&self.buf);
        let size = Cursor(&self.buf).u32()?;
        match usize::try_from(size) {
            Ok(need) if need > 0 && need <= lz4::bound(header.page_size) => {
                self.expect(State::Block(pgno), need);
                Ok(())
            }
            _ => Err(DecodeError::CompressedSize { pgno, size }),
        }
    }

    fn page_done(&mut self, pgno: Pgno) -> Found {
        self.crc.update(&self.page);
        if let Some(rolling) = &mut self.rolling {
            rolling.add(pgno, &self.page);
        }
        let (offset, len) = (
            self.page_offset,
            self.offset.saturating_sub(self.page_offset),
        );
        if let Some(index) = &mut self.index {
            index.push(IndexEntry { pgno, offset, len });
        }
        self.expect_page();
        Found::Page(pgno)
    }

    fn trailer(&mut self) -> Result<Found, DecodeError> {
        let header = self.header.ok_or(DecodeError::Truncated)?;
        let mut fields = Cursor(&self.buf);
        let (post_apply, stored) = (fields.u64()?, fields.u64()?);
        self.crc.update(&post_apply.to_be_bytes());
        let computed = self.crc.flagged();
        if stored != computed {
            return Err(DecodeError::FileChecksum { stored, computed });
        }
        let expected = match self.rolling {
            Some(rolling) => rolling.value(),
            None if header.checksum_mode => post_apply,
            None => 0,
        };
        if post_apply != expected {
            let (stored, computed) = (post_apply, expected);
            return Err(DecodeError::PostApplyChecksum { stored, computed });
        }
        self.expect(State::End, 0);
        Ok(Found::End { checksum: stored })
    }
}

/// [`Step`] without its borrow and its index.
enum Found {
    NeedMore,
    Header(Header),
    Page(Pgno),
    End { checksum: u64 },
}

/// Takes the index up to its final zero; true when that was found. Litestream ignores what the
/// entries say, so that they are only walked and hashed.
fn take_index(
    parser: &mut IndexParser,
    input: &mut &[u8],
    crc: &mut Crc,
) -> Result<bool, DecodeError> {
    let bytes = *input;
    while let Some((&byte, tail)) = input.split_first() {
        *input = tail;
        if parser.push(byte)? == Some(Parsed::End) {
            let len = bytes.len().saturating_sub(tail.len());
            crc.update(bytes.get(..len).unwrap_or_default());
            return Ok(true);
        }
    }
    crc.update(bytes);
    Ok(false)
}
