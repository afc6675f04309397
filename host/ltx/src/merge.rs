use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Read;

use crate::{Header, PageSize, Pgno, ReadError, Reader, TxidRange, WalSpan};

/// Why files cannot be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There is nothing to merge.
    #[error("no files to merge")]
    NoInput,
    /// One of the files cannot be read.
    #[error("cannot read file {input} of the merge: {source}")]
    Read {
        /// Which one, from 0.
        input: usize,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A file does not continue the one before it.
    #[error("file {next} does not continue {previous}")]
    NonContiguous {
        /// What the earlier file covers.
        previous: TxidRange,
        /// What the later file covers.
        next: TxidRange,
    },
    /// Two files have different page sizes.
    #[error("the files have page sizes {first} and {other}")]
    PageSize {
        /// The first file, from 0, with another page size than those before it.
        input: usize,
        /// Of the first file.
        first: PageSize,
        /// Of a later one.
        other: PageSize,
    },
    /// The last file is in checksum mode, whose checksum the output could not carry.
    #[error("the last file is in checksum mode")]
    ChecksumMode,
    /// The last file leaves a database without pages.
    #[error("the last file leaves an empty database")]
    EmptyDatabase,
    /// No file has this page, and the output has to.
    #[error("no file holds page {0}")]
    MissingPage(u32),
}

/// Merges LTX files into one: the newest file wins per page, pages past the newest commit go.
///
/// Memory is bounded by the number of files, not by their size.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::{
///     Encoder, Header, Merge, PageEncoding, PageSize, Pgno, Reader, Txid, TxidRange, WalSpan,
/// };
///
/// let file = |txid: u64, content: u8| {
///     let range = TxidRange::single(Txid::new(txid).expect("a transaction"));
///     let header = Header::new(PageSize::new(512)?, 1, range, 0, WalSpan::default());
///     let mut file = Vec::new();
///     let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file)?;
///     encoder.page(Pgno::FIRST, &[content; 512], &mut file)?;
///     encoder.finish(&mut file)?;
///     Ok::<_, Box<dyn std::error::Error>>(file)
/// };
/// let (older, newer) = (file(1, b'a')?, file(2, b'b')?);
/// let mut merge = Merge::new(vec![Reader::new(older.as_slice()), Reader::new(newer.as_slice())])?;
/// assert_eq!(merge.header().range.to_string(), "0000000000000001-0000000000000002");
/// assert_eq!(merge.next_page()?, Some((Pgno::FIRST, &[b'b'; 512][..])));
/// assert_eq!(merge.next_page()?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Merge<R> {
    inputs: Vec<Reader<R>>,
    header: Header,
    /// The next page of each input; the newest input first among equal pages.
    heap: BinaryHeap<(Reverse<Pgno>, usize)>,
    /// The input whose page was returned last, and that has to go on.
    current: Option<usize>,
    last: Option<Pgno>,
}

impl<R: Read> Merge<R> {
    /// Reads the headers of `inputs`, which are ordered from oldest to newest.
    ///
    /// # Errors
    ///
    /// [`MergeError`] if one cannot be read, or if they do not continue each other.
    pub fn new(mut inputs: Vec<Reader<R>>) -> Result<Self, MergeError> {
        let mut merged: Option<Header> = None;
        let mut previous: Option<TxidRange> = None;
        for (input, reader) in inputs.iter_mut().enumerate() {
            let next = reader
                .header()
                .map_err(|source| MergeError::Read { input, source })?;
            if let Some((merged, previous)) = merged.zip(previous) {
                check_follows(input, &merged, previous, &next)?;
            }
            // The first file names the start of the output, even if a later one starts before it.
            let range = merged
                .and_then(|merged| TxidRange::new(merged.range.min(), next.range.max()))
                .unwrap_or(next.range);
            merged = Some(Header {
                range,
                wal: WalSpan::default(),
                node_id: 0,
                ..next
            });
            previous = Some(next.range);
        }
        let header = merged.ok_or(MergeError::NoInput)?;
        if header.checksum_mode {
            return Err(MergeError::ChecksumMode);
        }
        if header.commit == 0 {
            return Err(MergeError::EmptyDatabase);
        }
        let heap = BinaryHeap::with_capacity(inputs.len());
        let mut merge = Self {
            inputs,
            header,
            heap,
            current: None,
            last: None,
        };
        for input in 0..merge.inputs.len() {
            merge.advance(input)?;
        }
        Ok(merge)
    }

    /// The header of the output: it covers what all inputs cover, with commit and timestamp of the
    /// newest.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The next page of the output, in ascending order. After `None` every input was read and
    /// verified to its end, and a snapshot had every page.
    ///
    /// # Errors
    ///
    /// [`MergeError`] if an input cannot be read, or a snapshot lacks a page.
    pub fn next_page(&mut self) -> Result<Option<(Pgno, &[u8])>, MergeError> {
        if let Some(input) = self.current.take() {
            self.advance(input)?;
        }
        while let Some((Reverse(pgno), input)) = self.heap.pop() {
            // The page of this input stays; the older copies are decoded and dropped.
            while let Some(&(Reverse(other), older)) = self.heap.peek()
                && other == pgno
            {
                self.heap.pop();
                self.advance(older)?;
            }
            if pgno.get() > self.header.commit {
                self.advance(input)?;
                continue;
            }
            self.check_complete(pgno.get())?;
            self.last = Some(pgno);
            self.current = Some(input);
            let page = self
                .inputs
                .get(input)
                .map(Reader::current_page)
                .unwrap_or_default();
            return Ok(Some((pgno, page)));
        }
        self.check_complete(self.header.commit.saturating_add(1))?;
        Ok(None)
    }

    /// Checks that a snapshot lacks no page before `pgno`.
    fn check_complete(&self, pgno: u32) -> Result<(), MergeError> {
        let next = self
            .header
            .page_size
            .page_after(self.last)
            .map_or(u32::MAX, Pgno::get);
        if self.header.is_snapshot() && next < pgno {
            return Err(MergeError::MissingPage(next));
        }
        Ok(())
    }

    /// Decodes the next page of an input.
    fn advance(&mut self, input: usize) -> Result<(), MergeError> {
        let Some(reader) = self.inputs.get_mut(input) else {
            return Ok(());
        };
        let next = reader
            .next_pgno()
            .map_err(|source| MergeError::Read { input, source })?;
        if let Some(pgno) = next {
            self.heap.push((Reverse(pgno), input));
        }
        Ok(())
    }
}

fn check_follows(
    input: usize,
    merged: &Header,
    previous: TxidRange,
    next: &Header,
) -> Result<(), MergeError> {
    if merged.page_size != next.page_size {
        return Err(MergeError::PageSize {
            input,
            first: merged.page_size,
            other: next.page_size,
        });
    }
    let gap = previous
        .max()
        .next()
        .is_some_and(|after| next.range.min() > after);
    if gap || next.range.max() <= previous.max() {
        return Err(MergeError::NonContiguous {
            previous,
            next: next.range,
        });
    }
    Ok(())
}
