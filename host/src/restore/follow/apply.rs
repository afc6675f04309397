use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::sqlite::{self, DatabaseHeader};
use lockkeeper_ltx::{Header, PageSize, Pgno, ReadError, Reader, Txid};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::header::{change_counter, is_rollback_mode, mark_changed};
use super::journal::Journal;
use super::{read_txid, write_txid};
use crate::restore::feed::Feed;
use crate::restore::output::Output;
use crate::{Error, Result};

const JOURNAL_SUFFIX: &str = "-journal";

/// A database that files are applied to.
pub(super) struct Applier {
    /// Takes the locks, and rolls back what a crash left. It must be closed before `file` is.
    connection: Connection,
    file: File,
    page_size: PageSize,
    output: Output,
    txid: Txid,
}

impl Applier {
    /// Opens a followed database.
    pub(super) fn open(path: &Path, lock_wait: Duration) -> Result<Self> {
        let output = Output::locate(path)?;
        let txid = read_txid(&output)?;
        let file = output.open_database()?;
        let cannot =
            |e| Error::unavailable(format!("cannot open {}", path.display())).with_source(e);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(output.path(), flags).map_err(cannot)?;
        connection.busy_timeout(lock_wait).map_err(cannot)?;
        let mut header = [0; sqlite::HEADER_LEN];
        file.read_exact_at(&mut header, 0).map_err(|e| {
            Error::corrupt(format!("cannot read {}", path.display())).with_source(e)
        })?;
        let header = DatabaseHeader::parse(&header).map_err(|e| {
            Error::corrupt(format!("cannot read {}", path.display())).with_source(e)
        })?;
        Ok(Self {
            connection,
            file,
            page_size: header.page_size,
            output,
            txid,
        })
    }

    /// The last transaction in the database.
    pub(super) fn txid(&self) -> Txid {
        self.txid
    }

    /// Applies one file, whose bytes come through `feed`, and returns the transaction it leads to.
    /// On an error the database holds what it held.
    pub(super) fn apply(&mut self, file: &ReplicaFile, mut feed: Feed) -> Result<Txid> {
        let spool = self.output.create_tmp()?;
        let disk = |e| Error::unavailable("cannot keep a file of the replica").with_source(e);
        io::copy(&mut feed, &mut spool.file()).map_err(disk)?;
        let source = Source {
            file,
            spool: spool.file(),
        };
        let header = source.verify(self.page_size, self.txid, self.pages()?)?;
        self.transaction(&source, &header)?;
        let txid = header.range.max();
        // If it stops before this, the same file is applied again, which changes nothing.
        write_txid(&self.output, txid)?;
        self.txid = txid;
        Ok(txid)
    }

    /// The size of the database in pages.
    fn pages(&self) -> Result<u32> {
        let len = self.file.metadata().map_err(|e| self.failed(e))?.len();
        let pages = u32::try_from(len / u64::from(self.page_size.get()));
        pages.map_err(|e| Error::corrupt("the output is too large").with_source(e))
    }

    /// Writes the pages while no other connection reads or writes.
    fn transaction(&self, source: &Source<'_>, header: &Header) -> Result<()> {
        let locked = self.connection.execute_batch("BEGIN EXCLUSIVE");
        locked.map_err(|e| {
            let text = format!("cannot lock {}", self.output.path().display());
            match e.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::corrupt(text),
                _ => Error::unavailable(text),
            }
            .with_source(e)
        })?;
        let written = self.write(source, header);
        // Nothing was written through the connection, so that this only unlocks.
        let unlocked = self.connection.execute_batch("ROLLBACK");
        written?;
        unlocked.map_err(|e| Error::unavailable("cannot unlock the output").with_source(e))
    }

    fn write(&self, source: &Source<'_>, header: &Header) -> Result<()> {
        if self.output.has_log()? || !is_rollback_mode(&self.file).map_err(|e| self.failed(e))? {
            let path = self.output.path();
            return Err(Error::invalid(format!(
                "{} was written to by another program",
                path.display()
            )));
        }
        self.write_journal(source, header)?;
        // If this fails, the journal stays, and the next who opens the database puts it back.
        self.write_pages(source, header)?;
        self.output.remove_beside(JOURNAL_SUFFIX)
    }

    fn write_journal(&self, source: &Source<'_>, header: &Header) -> Result<()> {
        let pages = self.pages()?;
        let file = self.output.create_beside(JOURNAL_SUFFIX, &self.file)?;
        let failed = |e| self.failed(e);
        let mut journal = Journal::new(&file, &self.file, self.page_size, pages).map_err(failed)?;
        // Its header changes even if the file does not hold it.
        journal.keep(Pgno::FIRST).map_err(failed)?;
        source.each_page(|pgno, _| match pgno {
            Pgno::FIRST => Ok(()),
            pgno if pgno.get() > header.commit => Ok(()),
            pgno => journal.keep(pgno).map_err(failed),
        })?;
        for pgno in header.commit.saturating_add(1)..=pages {
            if let Some(pgno) = Pgno::new(pgno) {
                journal.keep(pgno).map_err(failed)?;
            }
        }
        journal.finish().map_err(failed)?;
        self.output.sync_folder()
    }

    fn write_pages(&self, source: &Source<'_>, header: &Header) -> Result<()> {
        let failed = |e| self.failed(e);
        let counter = change_counter(&self.file).map_err(failed)?;
        source.each_page(|pgno, page| {
            if pgno.get() > header.commit {
                return Ok(());
            }
            let offset = pgno.offset(self.page_size);
            self.file.write_all_at(page, offset).map_err(failed)
        })?;
        let size = u64::from(header.commit) * u64::from(self.page_size.get());
        mark_changed(&self.file, counter, header.commit)
            .and_then(|()| self.file.set_len(size))
            .and_then(|()| self.file.sync_all())
            .map_err(failed)
    }

    fn failed(&self, source: io::Error) -> Error {
        let path = self.output.path();
        Error::unavailable(format!("cannot update {}", path.display())).with_source(source)
    }
}

/// A file of the replica that is here in full.
struct Source<'a> {
    file: &'a ReplicaFile,
    spool: &'a File,
}

impl Source<'_> {
    /// Reads the file to its end and checks that it continues a database that holds `have` in
    /// `pages` pages.
    fn verify(&self, page_size: PageSize, have: Txid, pages: u32) -> Result<Header> {
        let header = self.reader()?.header().map_err(|e| self.damaged(e))?;
        if header.page_size != page_size {
            let found = header.page_size;
            let why = format!("its page size is {found}, and {page_size} in the output");
            return Err(self.refused(&why));
        }
        let range = header.range;
        if have.next().is_none_or(|next| range.min() > next) || range.max() <= have {
            return Err(self.refused(&format!("it holds {range}, which does not continue {have}")));
        }
        if header.commit == 0 {
            return Err(self.refused("it leaves a database without pages"));
        }
        let mut added: u32 = 0;
        self.each_page(|pgno, _| {
            added += u32::from(pgno.get() > pages && pgno.get() <= header.commit);
            Ok(())
        })?;
        let lock_page = page_size.lock_page().get();
        let holds_lock_page = u32::from(lock_page > pages && lock_page <= header.commit);
        if added != header.commit.saturating_sub(pages) - holds_lock_page {
            return Err(self.refused("it lacks pages by which the database grew"));
        }
        Ok(header)
    }

    fn each_page(&self, mut take: impl FnMut(Pgno, &[u8]) -> Result<()>) -> Result<()> {
        let mut reader = self.reader()?;
        while let Some((pgno, page)) = reader.next_page().map_err(|e| self.damaged(e))? {
            take(pgno, page)?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Reader<impl Read>> {
        let mut spool = self.spool;
        let rewound = spool.seek(SeekFrom::Start(0));
        rewound.map_err(|e| self.damaged(e.into()))?;
        Ok(Reader::new(BufReader::new(spool)))
    }

    fn damaged(&self, source: ReadError) -> Error {
        self.refused("it is damaged").with_source(source)
    }

    fn refused(&self, why: &str) -> Error {
        let ReplicaFile { level, name, .. } = self.file;
        Error::corrupt(format!("cannot use level {level} {name}: {why}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
