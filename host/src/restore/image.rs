use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{DecodeError, Decoder, Header, PageSize, Pgno, Step, Txid};

use crate::{Error, Result};

/// A database that is put together from LTX files, oldest first.
pub(super) struct Image<'a> {
    file: &'a File,
    written: PageSet,
    decoder: Decoder,
    source: Option<Source>,
    last: Option<Header>,
}

/// The file that is being read.
struct Source {
    file: ReplicaFile,
    header: Option<Header>,
    last_page: Option<Pgno>,
    is_last: bool,
    is_complete: bool,
}

impl<'a> Image<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        let written = PageSet::default();
        Self {
            file,
            written,
            decoder: Decoder::new(),
            source: None,
            last: None,
        }
    }

    /// Starts the next file of the plan.
    pub(super) fn begin(&mut self, file: ReplicaFile, is_last: bool) {
        self.decoder = Decoder::new();
        let (header, last_page, is_complete) = (None, None, false);
        self.source = Some(Source {
            file,
            header,
            last_page,
            is_last,
            is_complete,
        });
    }

    pub(super) fn bytes(&mut self, mut input: &[u8]) -> Result<()> {
        let Self {
            file,
            written,
            decoder,
            source,
            last,
        } = self;
        let Some(source) = source else {
            return Err(Error::internal("bytes came before the file they belong to"));
        };
        loop {
            if source.is_complete {
                let trailing = || source.refused("bytes follow its end");
                return if input.is_empty() {
                    Ok(())
                } else {
                    Err(trailing())
                };
            }
            match decoder.step(&mut input).map_err(|e| source.damaged(e))? {
                Step::NeedMore => return Ok(()),
                Step::Header(header) => source.accept(header, last.as_ref())?,
                Step::Page(pgno, page) => {
                    let page_size = source.accept_page(pgno)?;
                    let written_at = file.write_all_at(page, pgno.offset(page_size));
                    written_at.map_err(|e| {
                        Error::unavailable("cannot write the restored database").with_source(e)
                    })?;
                    written.insert(pgno);
                }
                Step::End { .. } => source.is_complete = true,
            }
        }
    }

    /// Ends the file: it must be complete.
    pub(super) fn end_of_file(&mut self) -> Result<()> {
        let Some(source) = self.source.take() else {
            return Err(Error::internal("a file ended before it began"));
        };
        self.decoder.end_of_input().map_err(|e| source.damaged(e))?;
        match source.header {
            Some(header) if source.is_complete => self.last = Some(header),
            _ => return Err(source.refused("it ends too early")),
        }
        Ok(())
    }

    /// Gives the file the size of the database and makes it safe. Returns the last transaction and
    /// the size.
    pub(super) fn finish(self) -> Result<(Txid, u64)> {
        let Some(Header {
            commit,
            page_size,
            range,
            ..
        }) = self.last
        else {
            return Err(Error::internal("a plan has no file"));
        };
        if let Some(missing) = self.written.first_missing(commit, page_size.lock_page()) {
            return Err(Error::corrupt(format!(
                "no file of the replica holds page {missing}"
            )));
        }
        let size = u64::from(commit) * u64::from(page_size.get());
        // Cuts pages after the last one off, and adds the lock page if that is the last.
        let sized = self.file.set_len(size).and_then(|()| self.file.sync_all());
        sized
            .map_err(|e| Error::unavailable("cannot write the restored database").with_source(e))?;
        Ok((range.max(), size))
    }
}

impl Source {
    fn accept(&mut self, header: Header, last: Option<&Header>) -> Result<()> {
        let Some(last) = last else {
            if !header.is_snapshot() {
                return Err(self.refused("it is not a snapshot, so nothing can start with it"));
            }
            return self.accept_commit(header);
        };
        if header.page_size != last.page_size {
            let (new, old) = (header.page_size, last.page_size);
            return Err(self.refused(&format!("its page size is {new}, and {old} before it")));
        }
        let (new, old) = (header.range, last.range);
        if old.max().next().is_none_or(|next| new.min() > next) || new.max() <= old.max() {
            return Err(self.refused(&format!("it holds {new}, which does not continue {old}")));
        }
        self.accept_commit(header)
    }

    fn accept_commit(&mut self, header: Header) -> Result<()> {
        if self.is_last && header.commit == 0 {
            return Err(self.refused("it leaves a database without pages"));
        }
        // Litestream refuses to end with a file in checksum mode, so what follows would not be
        // restorable there.
        if self.is_last && header.checksum_mode {
            return Err(self.refused("post-apply checksum not allowed"));
        }
        if header.range != self.file.name.range() {
            // Litestream goes by the header, and so do we.
            tracing::warn!(name = %self.file.name, header = %header.range, "file has another name");
        }
        self.header = Some(header);
        Ok(())
    }

    fn accept_page(&mut self, pgno: Pgno) -> Result<PageSize> {
        let Some(header) = &self.header else {
            return Err(self.refused("it has a page before its header"));
        };
        if self.last_page.is_some_and(|last| last >= pgno) {
            return Err(self.refused(&format!("page {pgno} is out of order")));
        }
        let page_size = header.page_size;
        if pgno == page_size.lock_page() {
            return Err(self.refused("it holds the lock page"));
        }
        if header.is_snapshot() {
            let follows = self.last_page.map_or(Some(Pgno::FIRST), Pgno::next);
            let skips = follows.filter(|&pgno| pgno == page_size.lock_page());
            if Some(pgno) != skips.map_or(follows, Pgno::next) {
                return Err(self.refused(&format!("it is a snapshot and jumps to page {pgno}")));
            }
        }
        self.last_page = Some(pgno);
        Ok(page_size)
    }

    fn damaged(&self, source: DecodeError) -> Error {
        self.refused("it is damaged").with_source(source)
    }

    fn refused(&self, why: &str) -> Error {
        let ReplicaFile { level, name, .. } = self.file;
        Error::corrupt(format!("cannot use level {level} {name}: {why}"))
    }
}

/// Pages per part of a [`PageSet`].
const PART_PAGES: u32 = 32_768;

/// Page numbers. Memory grows with the pages in it, not with the largest number, which comes from
/// files that may lie.
#[derive(Default)]
struct PageSet(HashMap<u32, Box<[u64; PART_PAGES as usize / 64]>>);

impl PageSet {
    fn insert(&mut self, pgno: Pgno) {
        let (part, word, bit) = Self::place(pgno.get());
        let words = self
            .0
            .entry(part)
            .or_insert_with(|| Box::new([0; PART_PAGES as usize / 64]));
        if let Some(word) = words.get_mut(word) {
            *word |= bit;
        }
    }

    fn contains(&self, pgno: u32) -> bool {
        let (part, word, bit) = Self::place(pgno);
        let word = self.0.get(&part).and_then(|words| words.get(word));
        word.is_some_and(|word| word & bit != 0)
    }

    /// The first page up to `commit` that is not in the set and not the lock page.
    fn first_missing(&self, commit: u32, lock_page: Pgno) -> Option<u32> {
        (1..=commit).find(|&pgno| pgno != lock_page.get() && !self.contains(pgno))
    }

    fn place(pgno: u32) -> (u32, usize, u64) {
        let within = pgno % PART_PAGES;
        (
            pgno / PART_PAGES,
            (within / 64) as usize,
            1 << (within % 64),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_missing_page_is_found_and_the_lock_page_is_none() {
        let mut set = PageSet::default();
        let lock_page = Pgno::new(16_385).unwrap();
        for n in (1..=40_000).filter(|&n| n != 16_385 && n != 33_000) {
            set.insert(Pgno::new(n).unwrap());
        }
        assert_eq!(set.first_missing(32_999, lock_page), None);
        assert_eq!(set.first_missing(40_000, lock_page), Some(33_000));
        assert_eq!(
            PageSet::default().first_missing(u32::MAX, lock_page),
            Some(1)
        );
        assert_eq!(PageSet::default().first_missing(0, lock_page), None);
    }
}
