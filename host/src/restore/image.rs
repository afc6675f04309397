use std::io::Read;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{Header, ReadError, Reader, Txid};

use super::pages::PageSet;
use super::writer::PageWriter;
use crate::{Error, Result};

/// A database that is put together from LTX files, newest first: the first version of a page that
/// comes is the one to keep, so that each page is written once, however many files there are.
pub(super) struct Image<'a> {
    writer: &'a mut PageWriter,
    written: PageSet,
    newest: Option<Header>,
    /// Of the file that was added last.
    oldest: Option<Header>,
}

impl<'a> Image<'a> {
    pub(super) fn new(writer: &'a mut PageWriter) -> Self {
        Self {
            writer,
            written: PageSet::default(),
            newest: None,
            oldest: None,
        }
    }

    /// Adds the file that comes before those that were added; `bytes` are all of it.
    pub(super) fn add(&mut self, file: &ReplicaFile, bytes: impl Read) -> Result<()> {
        let mut reader = Reader::new(bytes);
        let header = reader.header().map_err(|e| damaged(file, e))?;
        match &self.oldest {
            None => check_newest(file, &header)?,
            Some(newer) => check_older(file, &header, newer)?,
        }
        if header.range != file.name.range() {
            // Litestream goes by the header, and so do we.
            tracing::warn!(name = %file.name, header = %header.range, "file has another name");
        }
        let newest = *self.newest.get_or_insert(header);
        self.oldest = Some(header);
        while let Some((pgno, page)) = reader.next_page().map_err(|e| damaged(file, e))? {
            if newest.may_hold(pgno) && self.written.insert(pgno) {
                self.writer.page(pgno.offset(newest.page_size), page)?;
            }
        }
        Ok(())
    }

    /// Checks that nothing is missing. Returns the last transaction and the size of the database in
    /// bytes, which the file does not have if the last page is the lock page.
    pub(super) fn finish(self) -> Result<(Txid, u64)> {
        let Some((newest, oldest)) = self.newest.zip(self.oldest) else {
            return Err(Error::internal("a plan has no file"));
        };
        if !oldest.is_snapshot() {
            return Err(Error::corrupt(format!(
                "no file of the replica holds what is before {}",
                oldest.range.min()
            )));
        }
        let Header {
            commit, page_size, ..
        } = newest;
        if let Some(missing) = self.written.first_missing(commit, page_size.lock_page()) {
            return Err(Error::corrupt(format!(
                "no file of the replica holds page {missing}"
            )));
        }
        let size = u64::from(commit) * u64::from(page_size.get());
        Ok((newest.range.max(), size))
    }
}

/// What only the newest file of a restore has to fulfil.
fn check_newest(file: &ReplicaFile, header: &Header) -> Result<()> {
    if header.commit == 0 {
        return Err(refused(file, "it leaves a database without pages"));
    }
    // Litestream refuses to end with a file in checksum mode, so what follows would not be
    // restorable there.
    if header.checksum_mode {
        return Err(refused(file, "post-apply checksum not allowed"));
    }
    Ok(())
}

/// Whether `newer` continues what `file` with `header` holds.
fn check_older(file: &ReplicaFile, header: &Header, newer: &Header) -> Result<()> {
    if header.page_size != newer.page_size {
        let (old, new) = (header.page_size, newer.page_size);
        let why = format!("its page size is {old}, and {new} after it");
        return Err(refused(file, &why));
    }
    let (old, new) = (header.range, newer.range);
    if old.max().next().is_none_or(|next| new.min() > next) || new.max() <= old.max() {
        let why = format!("it holds {old}, which {new} does not continue");
        return Err(refused(file, &why));
    }
    Ok(())
}

fn damaged(file: &ReplicaFile, source: ReadError) -> Error {
    refused(file, "it is damaged").with_source(source)
}

fn refused(file: &ReplicaFile, why: &str) -> Error {
    let ReplicaFile { level, name, .. } = file;
    Error::corrupt(format!("cannot use level {level} {name}: {why}"))
}
