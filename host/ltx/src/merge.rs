use std::io::Read;

use crate::{Header, Pgno, ReadError, Reader, TxidRange, WalSpan};

/// Why files cannot be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No file was given.
    #[error("there is nothing to merge")]
    Empty,
    /// Two files have different page sizes.
    #[error("the page sizes of the files differ")]
    PageSize,
    /// A file does not go on where the one before it ended.
    #[error("the file {found} does not follow {before}")]
    Gap {
        /// What the earlier file covers.
        before: TxidRange,
        /// What the later file covers.
        found: TxidRange,
    },
    /// A file could not be read.
    #[error("file {index}: {source}")]
    Read {
        /// Its number, from 0.
        index: usize,
        /// Why.
        source: ReadError,
    },
}

/// Merges LTX files, oldest first, into one stream of pages in ascending order: the newest file
/// wins per page, and pages past the end of the newest file's database go.
///
/// Memory is a constant per file, however large the files are. Every file is read to its end and
/// verified, pages that lose included.
#[derive(Debug)]
pub struct Merge<R> {
    inputs: Vec<Input<R>>,
    header: Header,
    page: Vec<u8>,
}

#[derive(Debug)]
struct Input<R> {
    reader: Reader<R>,
    /// The page this file offers next.
    head: Option<Pgno>,
    page: Vec<u8>,
}

impl<R: Read> Merge<R> {
    /// Reads the headers of `readers`, which must continue each other.
    ///
    /// # Errors
    ///
    /// [`MergeError`] if they do not, or cannot be read.
    pub fn new(readers: Vec<Reader<R>>) -> Result<Self, MergeError> {
        let mut inputs = Vec::with_capacity(readers.len());
        let mut merged: Option<Header> = None;
        for (index, mut reader) in readers.into_iter().enumerate() {
            let failed = |source| MergeError::Read { index, source };
            let header = *reader.header().map_err(failed)?;
            merged = Some(match merged {
                None => header,
                Some(before) => follow(before, header)?,
            });
            let mut input = Input {
                reader,
                head: None,
                page: Vec::new(),
            };
            input.advance().map_err(failed)?;
            inputs.push(input);
        }
        let last = merged.ok_or(MergeError::Empty)?;
        let header = Header::new(
            last.page_size,
            last.commit,
            last.range,
            last.timestamp_ms,
            WalSpan::default(),
        );
        Ok(Self {
            inputs,
            header,
            page: Vec::new(),
        })
    }

    /// The header of the merged file: commit and time of the newest input, no part of any log.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next page; `None` once every file was read to its end and verified.
    ///
    /// # Errors
    ///
    /// [`MergeError::Read`] if a file is damaged or does not come.
    pub fn next_page(&mut self) -> Result<Option<(Pgno, &[u8])>, MergeError> {
        let pgno = loop {
            let Some(pgno) = self.inputs.iter().filter_map(|input| input.head).min() else {
                return Ok(None);
            };
            for (index, input) in self.inputs.iter_mut().enumerate() {
                if input.head == Some(pgno) {
                    // Later inputs are newer and overwrite.
                    std::mem::swap(&mut self.page, &mut input.page);
                    input
                        .advance()
                        .map_err(|source| MergeError::Read { index, source })?;
                }
            }
            if pgno.get() <= self.header.commit {
                break pgno;
            }
        };
        Ok(Some((pgno, &self.page)))
    }
}

impl<R: Read> Input<R> {
    fn advance(&mut self) -> Result<(), ReadError> {
        self.head = None;
        if let Some((pgno, page)) = self.reader.next_page()? {
            self.head = Some(pgno);
            self.page.clear();
            self.page.extend_from_slice(page);
        }
        Ok(())
    }
}

fn follow(before: Header, next: Header) -> Result<Header, MergeError> {
    if before.page_size != next.page_size {
        return Err(MergeError::PageSize);
    }
    let gap = MergeError::Gap {
        before: before.range,
        found: next.range,
    };
    let reaches = before
        .range
        .max()
        .next()
        .is_none_or(|end| next.range.min() <= end);
    if !reaches || next.range.max() <= before.range.max() {
        return Err(gap);
    }
    let range = TxidRange::new(before.range.min(), next.range.max()).ok_or(gap)?;
    Ok(Header { range, ..next })
}
