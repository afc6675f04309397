use std::io::Write;

use lz4_flex::block;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::checksum::FileChecksum;
use crate::{EncodeError, Header, IndexEntry, PageIndex, Pgno};

pub(crate) const PAGE_HEADER_LEN: usize = 6;
/// In the flags of a page header: a length and one LZ4 block follow.
pub(crate) const FLAG_BLOCK: u16 = 1;

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
///
/// # Example
///
/// ```
/// use lockkeeper_ltx::{Encoder, Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan};
///
/// let page_size = PageSize::new(512).unwrap();
/// let range = TxidRange::single(Txid::FIRST);
/// let header = Header::new(page_size, 1, range, 0, WalSpan::default());
/// let mut file = Vec::new();
/// let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file).unwrap();
/// encoder.page(Pgno::FIRST, &[0; 512], &mut file).unwrap();
/// encoder.finish(&mut file).unwrap();
/// assert_eq!(&file[..4], b"LTX1");
/// ```
#[derive(Debug)]
pub struct Encoder {
    header: Header,
    encoding: PageEncoding,
    checksum: FileChecksum,
    index: PageIndex,
    /// Bytes of the file so far.
    offset: u64,
    last: Option<Pgno>,
    compressed: Vec<u8>,
}

impl Encoder {
    /// Starts a file: appends its header to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if no reader would accept the header.
    pub fn new(
        header: Header,
        encoding: PageEncoding,
        out: &mut Vec<u8>,
    ) -> Result<Self, EncodeError> {
        header.check().map_err(EncodeError::Header)?;
        if header.checksum_mode {
            return Err(EncodeError::Header(
                "files in checksum mode are not written",
            ));
        }
        if header.commit == 0 {
            return Err(EncodeError::Header("an empty database cannot be expressed"));
        }
        let bytes = header.to_bytes();
        let mut checksum = FileChecksum::new();
        checksum.update(&bytes);
        out.extend_from_slice(&bytes);
        Ok(Self {
            header,
            encoding,
            checksum,
            index: PageIndex::default(),
            offset: bytes.len() as u64,
            last: None,
            compressed: Vec::new(),
        })
    }

    /// Appends one page, compressed, to `out`. Pages come in ascending order; a snapshot needs
    /// every page from 1 to `commit` but the lock page.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the page breaks a rule of the format; the file is then unusable.
    pub fn page(&mut self, pgno: Pgno, page: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(pgno, page).map_err(|reason| EncodeError::Page {
            pgno: pgno.get(),
            reason,
        })?;
        let start = out.len();
        out.extend_from_slice(&pgno.get().to_be_bytes());
        match self.encoding {
            PageEncoding::Block => {
                out.extend_from_slice(&FLAG_BLOCK.to_be_bytes());
                self.compressed
                    .resize(block::get_maximum_output_size(page.len()), 0);
                let len = block::compress_into(page, &mut self.compressed)
                    .map_err(|_| EncodeError::Compress(pgno.get()))?;
                let block = self.compressed.get(..len).unwrap_or_default();
                // At most 66 KiB, so it fits.
                out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
                self.checksum.update(out.get(start..).unwrap_or_default());
                out.extend_from_slice(block);
            }
            PageEncoding::Frame => {
                out.extend_from_slice(&0_u16.to_be_bytes());
                self.checksum.update(out.get(start..).unwrap_or_default());
                compress_frame(page, out).map_err(|()| EncodeError::Compress(pgno.get()))?;
            }
        }
        self.checksum.update(page);
        let len = out.len().saturating_sub(start) as u64;
        self.index.push(IndexEntry {
            pgno,
            offset: self.offset,
            len,
        });
        self.offset = self.offset.saturating_add(len);
        self.last = Some(pgno);
        Ok(())
    }

    fn check(&self, pgno: Pgno, page: &[u8]) -> Result<(), &'static str> {
        if page.len() != self.header.page_size.bytes() {
            return Err("it is not one page long");
        }
        if pgno == self.header.page_size.lock_page() {
            return Err("the lock page has no content");
        }
        if pgno.get() > self.header.commit {
            return Err("it is past the end of the database");
        }
        if self.last.is_some_and(|last| last >= pgno) {
            return Err("pages do not ascend");
        }
        if self.header.is_snapshot() && Some(pgno) != self.next_of_snapshot() {
            return Err("the snapshot skips a page");
        }
        Ok(())
    }

    fn next_of_snapshot(&self) -> Option<Pgno> {
        successor(&self.header, self.last)
    }

    /// Appends the end of the page block, the index and the trailer to `out`.
    /// Returns the file checksum.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a snapshot lacks a page.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<u64, EncodeError> {
        if self.header.is_snapshot()
            && let Some(missing) = self.next_of_snapshot()
            && missing.get() <= self.header.commit
        {
            return Err(EncodeError::Incomplete(missing.get()));
        }
        let start = out.len();
        out.extend_from_slice(&[0; PAGE_HEADER_LEN]);
        self.index.write(out);
        let no_post_apply = 0_u64.to_be_bytes();
        out.extend_from_slice(&no_post_apply);
        self.checksum.update(out.get(start..).unwrap_or_default());
        let checksum = self.checksum.finish();
        out.extend_from_slice(&checksum.to_be_bytes());
        Ok(checksum)
    }
}

/// The page that must follow `last` in a snapshot.
pub(crate) fn successor(header: &Header, last: Option<Pgno>) -> Option<Pgno> {
    let next = last.map_or(Some(Pgno::FIRST), Pgno::next)?;
    if next == header.page_size.lock_page() {
        next.next()
    } else {
        Some(next)
    }
}

/// The only kind of frame that every reader takes: 64 KiB blocks, independent, with a checksum.
fn compress_frame(page: &[u8], out: &mut Vec<u8>) -> Result<(), ()> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent)
        .content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(page).map_err(drop)?;
    encoder.finish().map(drop).map_err(drop)
}
