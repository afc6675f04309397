use crate::checksum::{self, FileChecksum};
use crate::encode::{FLAG_BLOCK, PAGE_HEADER_LEN, successor};
use crate::frame::FrameScan;
use crate::header::Fields;
use crate::{DecodeError, HEADER_LEN, Header, Pgno, TRAILER_LEN};

/// What [`Decoder::step`] found.
#[derive(Debug)]
pub enum Step<'a> {
    /// The input is used up and the file goes on: call again with more bytes.
    NeedMore,
    /// The header; always first.
    Header(Header),
    /// The next page, uncompressed.
    Page(Pgno, &'a [u8]),
    /// The file is complete and its checksum, which this is, is right. Any byte after it is an
    /// error.
    End(u64),
}

/// Reads one LTX file from bytes that arrive in pieces of any size.
///
/// Memory is bounded by two pages, whatever the bytes say. Pages past the end of the database,
/// which no current program writes and every reader drops, are verified and skipped.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The bytes of the current field, until there are `need` of them.
    field: Vec<u8>,
    need: usize,
    /// Bytes taken so far.
    taken: u64,
    checksum: FileChecksum,
    /// The database checksum of a snapshot in checksum mode.
    database: u64,
    page: Vec<u8>,
    last: Option<Pgno>,
}

#[derive(Clone, Debug)]
enum State {
    Header,
    PageHeader(Header),
    BlockLen(Header, Pgno),
    Block(Header, Pgno),
    Frame(Header, Pgno, FrameScan),
    /// Within the page index; counts the numbers of the current entry.
    Index(Header, u8),
    IndexLen(Header),
    Trailer(Header),
    Done,
    Failed(DecodeError),
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
            field: Vec::with_capacity(HEADER_LEN),
            need: HEADER_LEN,
            taken: 0,
            checksum: FileChecksum::new(),
            database: checksum::FLAG,
            page: Vec::new(),
            last: None,
        }
    }

    /// Takes bytes from the front of `input` and returns the next thing found.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] at the first byte that cannot belong to a valid file; the decoder is then
    /// unusable and repeats the error.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Step<'_>, DecodeError> {
        loop {
            match self.advance(input) {
                Ok(Found::Nothing) => {}
                Ok(Found::NeedMore) => return Ok(Step::NeedMore),
                Ok(Found::Header(header)) => return Ok(Step::Header(header)),
                Ok(Found::Page(pgno)) => return Ok(Step::Page(pgno, &self.page)),
                Ok(Found::End(checksum)) => return Ok(Step::End(checksum)),
                Err(error) => {
                    self.state = State::Failed(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// The page that [`Step::Page`] announced last.
    pub(crate) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Tells the decoder that no more bytes will come.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] unless the file was complete.
    pub fn end_of_input(&self) -> Result<(), DecodeError> {
        match &self.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error.clone()),
            _ => Err(DecodeError::Truncated(self.taken)),
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Found, DecodeError> {
        match &self.state {
            State::Done if input.is_empty() => return Ok(Found::NeedMore),
            State::Done => return Err(DecodeError::TrailingBytes),
            State::Failed(error) => return Err(error.clone()),
            _ => {}
        }
        if !self.fill(input) {
            return Ok(Found::NeedMore);
        }
        match self.state.clone() {
            State::Header => self.on_header(),
            State::PageHeader(header) => self.on_page_header(header),
            State::BlockLen(header, pgno) => self.on_block_len(header, pgno),
            State::Block(header, pgno) => self.on_block(header, pgno),
            State::Frame(header, pgno, scan) => self.on_frame(header, pgno, scan),
            State::Index(header, numbers) => Ok(self.on_index(header, numbers)),
            State::IndexLen(header) => {
                self.checksum.update(&self.field);
                Ok(self.go(State::Trailer(header), TRAILER_LEN))
            }
            State::Trailer(header) => self.on_trailer(header),
            State::Done | State::Failed(_) => Ok(Found::NeedMore),
        }
    }

    /// Collects the current field; `true` once it is whole.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let missing = self.need.saturating_sub(self.field.len());
        let (head, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.field.extend_from_slice(head);
        self.taken = self.taken.saturating_add(head.len() as u64);
        *input = rest;
        self.field.len() >= self.need
    }

    fn go(&mut self, state: State, need: usize) -> Found {
        self.state = state;
        self.field.clear();
        self.need = need;
        Found::Nothing
    }

    fn on_header(&mut self) -> Result<Found, DecodeError> {
        let bytes = Fields(&self.field).take::<HEADER_LEN>();
        let header = Header::parse(&bytes)?;
        if header.commit == 0 {
            return Err(DecodeError::Header("the database is empty"));
        }
        self.checksum.update(&bytes);
        self.page.resize(header.page_size.bytes(), 0);
        self.go(State::PageHeader(header), PAGE_HEADER_LEN);
        Ok(Found::Header(header))
    }

    fn on_page_header(&mut self, header: Header) -> Result<Found, DecodeError> {
        self.checksum.update(&self.field);
        let mut fields = Fields(&self.field);
        let (pgno, flags) = (fields.u32(), u16::from_be_bytes(fields.take()));
        let Some(pgno) = Pgno::new(pgno) else {
            if flags != 0 {
                return Err(DecodeError::Page {
                    pgno: 0,
                    reason: "the end marker has flags",
                });
            }
            self.check_complete(&header)?;
            return Ok(self.go(State::Index(header, 0), 1));
        };
        self.check_order(&header, pgno)
            .map_err(|reason| DecodeError::Page {
                pgno: pgno.get(),
                reason,
            })?;
        self.last = Some(pgno);
        match flags {
            FLAG_BLOCK => Ok(self.go(State::BlockLen(header, pgno), 4)),
            0 => {
                let scan = FrameScan::new(bound(&header));
                let need = scan.need();
                Ok(self.go(State::Frame(header, pgno, scan), need))
            }
            _ => Err(DecodeError::Page {
                pgno: pgno.get(),
                reason: "invalid page flags",
            }),
        }
    }

    fn check_order(&self, header: &Header, pgno: Pgno) -> Result<(), &'static str> {
        if pgno == header.page_size.lock_page() {
            return Err("the lock page has no content");
        }
        if self.last.is_some_and(|last| last >= pgno) {
            return Err("pages do not ascend");
        }
        let expected = successor(header, self.last);
        if header.is_snapshot() && Some(pgno) != expected && pgno.get() <= header.commit {
            return Err("the snapshot skips a page");
        }
        Ok(())
    }

    fn check_complete(&self, header: &Header) -> Result<(), DecodeError> {
        match successor(header, self.last) {
            Some(next) if header.is_snapshot() && next.get() <= header.commit => {
                Err(DecodeError::Page {
                    pgno: next.get(),
                    reason: "the snapshot lacks it",
                })
            }
            _ => Ok(()),
        }
    }

    fn on_block_len(&mut self, header: Header, pgno: Pgno) -> Result<Found, DecodeError> {
        self.checksum.update(&self.field);
        let len = Fields(&self.field).u32();
        match usize::try_from(len) {
            Ok(len) if (1..=bound(&header)).contains(&len) => {
                Ok(self.go(State::Block(header, pgno), len))
            }
            _ => Err(DecodeError::Page {
                pgno: pgno.get(),
                reason: "its compressed length is out of range",
            }),
        }
    }

    fn on_block(&mut self, header: Header, pgno: Pgno) -> Result<Found, DecodeError> {
        match lz4_flex::block::decompress_into(&self.field, &mut self.page) {
            Ok(len) if len == self.page.len() => Ok(self.on_page(header, pgno)),
            _ => Err(DecodeError::Page {
                pgno: pgno.get(),
                reason: "its LZ4 block does not decode to one page",
            }),
        }
    }

    fn on_frame(
        &mut self,
        header: Header,
        pgno: Pgno,
        mut scan: FrameScan,
    ) -> Result<Found, DecodeError> {
        let error = |reason| DecodeError::Page {
            pgno: pgno.get(),
            reason,
        };
        if !scan.advance(&self.field).map_err(error)? {
            self.need = scan.need();
            self.state = State::Frame(header, pgno, scan);
            return Ok(Found::Nothing);
        }
        crate::frame::decode(&self.field, &mut self.page).map_err(error)?;
        Ok(self.on_page(header, pgno))
    }

    fn on_page(&mut self, header: Header, pgno: Pgno) -> Found {
        self.checksum.update(&self.page);
        if header.checksum_mode && header.is_snapshot() {
            self.database =
                checksum::FLAG | (self.database ^ checksum::page(pgno.get(), &self.page));
        }
        self.go(State::PageHeader(header), PAGE_HEADER_LEN);
        if pgno.get() > header.commit {
            Found::Nothing
        } else {
            Found::Page(pgno)
        }
    }

    /// The index is a convenience for random access. Its shape is verified, and its bytes by the
    /// checksum; what it says is not relied on.
    fn on_index(&mut self, header: Header, numbers: u8) -> Found {
        self.checksum.update(&self.field);
        let byte = self.field.last().copied().unwrap_or(0);
        if byte & 0x80 != 0 {
            // A number goes on; its length is bounded by the checksum of the file alone, and its
            // bytes are not kept. A first byte with more to come is no terminator.
            return self.go(State::Index(header, numbers | 0x80), 1);
        }
        let is_first_byte = numbers & 0x80 == 0;
        match numbers & 0x7f {
            0 if byte == 0 && is_first_byte => self.go(State::IndexLen(header), 8),
            2 => self.go(State::Index(header, 0), 1),
            n => self.go(State::Index(header, n.saturating_add(1)), 1),
        }
    }

    fn on_trailer(&mut self, header: Header) -> Result<Found, DecodeError> {
        let mut fields = Fields(&self.field);
        let (post_apply, stated) = (fields.u64(), fields.u64());
        self.checksum.update(&post_apply.to_be_bytes());
        let computed = self.checksum.finish();
        if stated != computed {
            return Err(DecodeError::Checksum { stated, computed });
        }
        if !header.checksum_mode && post_apply != 0 {
            return Err(DecodeError::Header(
                "a post-apply checksum is set in a file without checksums",
            ));
        }
        if header.checksum_mode && header.is_snapshot() && post_apply != self.database {
            return Err(DecodeError::PostApply {
                stated: post_apply,
                computed: self.database,
            });
        }
        self.go(State::Done, 0);
        Ok(Found::End(computed))
    }
}

enum Found {
    Nothing,
    NeedMore,
    Header(Header),
    Page(Pgno),
    End(u64),
}

/// The longest that one compressed page can be: LZ4's worst case for incompressible bytes.
fn bound(header: &Header) -> usize {
    let page = header.page_size.bytes();
    page.saturating_add(page / 255).saturating_add(16)
}
