use lz4_flex::block::{self, CompressTable};

use crate::checksum::Crc;
use crate::index::{put_end, put_entry};
use crate::lz4::{FRAME_START, STORED, xxh32};
use crate::{EncodeError, HEADER_LEN, Header, IndexEntry, Pgno};

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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::{Encoder, Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan};
///
/// let sealed_ms = 1_795_449_658_764; // since the Unix epoch
/// let range = TxidRange::single(Txid::FIRST);
/// let header = Header::new(PageSize::new(512)?, 2, range, sealed_ms, WalSpan::default());
/// assert!(header.is_snapshot()); // so it must have both pages
///
/// let mut file = Vec::new(); // written out and cleared whenever the caller likes
/// let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file)?;
/// for n in 1..=2 {
///     let pgno = Pgno::new(n).expect("a page");
///     encoder.page(pgno, &[7; 512], &mut file)?;
/// }
/// let checksum = encoder.finish(&mut file)?;
/// assert_eq!(file[file.len() - 8..], checksum.to_be_bytes());
/// # Ok(())
/// # }
/// ```
pub struct Encoder {
    header: Header,
    encoding: PageEncoding,
    crc: Crc,
    /// Bytes of the file so far.
    offset: u64,
    last: Option<Pgno>,
    /// The index block so far.
    index: Vec<u8>,
    table: CompressTable,
    compressed: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("header", &self.header)
            .field("encoding", &self.encoding)
            .field("offset", &self.offset)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
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
        let bytes = header.encode()?;
        let mut crc = Crc::new();
        crc.update(&bytes);
        out.extend_from_slice(&bytes);
        let page_len = header.page_size.bytes();
        Ok(Self {
            header,
            encoding,
            crc,
            offset: HEADER_LEN as u64,
            last: None,
            index: Vec::new(),
            // The small table holds offsets below 65535.
            table: if page_len < 65_535 {
                CompressTable::small()
            } else {
                CompressTable::large()
            },
            compressed: vec![0; block::get_maximum_output_size(page_len)],
        })
    }

    /// Appends one page, compressed, to `out`. Pages come in ascending order; a snapshot needs
    /// every page from 1 to `commit` but the lock page.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the page breaks a rule of the format; the file is then unusable.
    pub fn page(&mut self, pgno: Pgno, page: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(pgno, page)?;
        let len = block::compress_into_with_table(page, &mut self.compressed, &mut self.table)
            .map_err(|_| EncodeError::Compression(pgno))?;
        let block = self
            .compressed
            .get(..len)
            .ok_or(EncodeError::Compression(pgno))?;
        let start = out.len();
        let [a, b, c, d] = pgno.get().to_be_bytes();
        match self.encoding {
            PageEncoding::Block => {
                let size = block_len(block, pgno)?.to_be_bytes();
                let head = [a, b, c, d, 0, 1];
                self.crc.update(&head);
                self.crc.update(&size);
                out.extend_from_slice(&head);
                out.extend_from_slice(&size);
                out.extend_from_slice(block);
            }
            PageEncoding::Frame => {
                let head = [a, b, c, d, 0, 0];
                self.crc.update(&head);
                out.extend_from_slice(&head);
                out.extend_from_slice(&FRAME_START);
                // A frame may not hold a compressed block that is no smaller than its content.
                let (block, flag) = if block.len() < page.len() {
                    (block, 0)
                } else {
                    (page, STORED)
                };
                out.extend_from_slice(&(block_len(block, pgno)? | flag).to_le_bytes());
                out.extend_from_slice(block);
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&xxh32(page).to_le_bytes());
            }
        }
        self.crc.update(page);
        let len = out.len().saturating_sub(start) as u64;
        put_entry(
            &mut self.index,
            &IndexEntry {
                pgno,
                offset: self.offset,
                len,
            },
        );
        self.offset = self.offset.saturating_add(len);
        self.last = Some(pgno);
        Ok(())
    }

    /// Whether this page may come next.
    fn check(&self, pgno: Pgno, page: &[u8]) -> Result<(), EncodeError> {
        if page.len() != self.header.page_size.bytes() {
            return Err(EncodeError::PageLen {
                pgno,
                len: page.len(),
            });
        }
        if !self.header.may_hold(pgno) {
            return Err(EncodeError::PageRange {
                pgno,
                commit: self.header.commit,
            });
        }
        if self.last.is_some_and(|last| last >= pgno) {
            return Err(EncodeError::PageOrder(pgno));
        }
        if self.header.is_snapshot() {
            let next = self.header.page_size.page_after(self.last);
            if next != Some(pgno) {
                return Err(EncodeError::MissingPage(next.map_or(u32::MAX, Pgno::get)));
            }
        }
        Ok(())
    }

    /// Appends the end of the page block, the index and the trailer to `out`.
    /// Returns the file checksum.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a snapshot lacks a page.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<u64, EncodeError> {
        if self.header.is_snapshot()
            && let Some(next) = self.header.page_size.page_after(self.last)
            && next.get() <= self.header.commit
        {
            return Err(EncodeError::MissingPage(next.get()));
        }
        put_end(&mut self.index);
        for bytes in [&[0; 6][..], &self.index, &[0; 8]] {
            self.crc.update(bytes);
            out.extend_from_slice(bytes);
        }
        let checksum = self.crc.flagged();
        out.extend_from_slice(&checksum.to_be_bytes());
        Ok(checksum)
    }
}

fn block_len(block: &[u8], pgno: Pgno) -> Result<u32, EncodeError> {
    u32::try_from(block.len()).map_err(|_| EncodeError::Compression(pgno))
}
