//! A hash of every page as of one sealed transaction. It tells which pages changed while nobody
//! captured them, so that the next file need not hold the whole database.
//!
//! # The file
//!
//! `page-hashes` in the state directory is a header of 64 bytes and 16 bytes for each page, in
//! order. The header names a transaction, the *base*, whose pages are hashed. Hashes of later
//! transactions stay in memory and are written over the old ones in one go (*flush*): first the
//! header says up to where, then come the hashes, then the header with the new base. So whatever a
//! crash leaves can be brought to the last sealed transaction by hashing the pages of the local
//! files after the base once more; until a flush was completed, those files must stay.
//!
//! # What damage does
//!
//! A hash that is wrong makes its page look changed, which costs space. What must never happen is
//! that a hash is newer than the last sealed file: its page would look unchanged and be left out.
//! So the hashes count only together with the very file of their base, known by its checksum, and
//! with every file up to the end of a flush that was begun. See `docs/adr/0007-page-hashes.md`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lockkeeper_ltx::{FileName, PageSize, Pgno, Reader, Txid, TxidRange};

use self::header::{HEADER_LEN, Header};
use crate::spool::Spool;
use crate::{Error, Result};

mod header;

/// Their file in the state directory.
pub(crate) const NAME: &str = "page-hashes";
const HASH_LEN: usize = 16;
/// Hashes that wait in memory, some megabytes at most; more are written.
const CHANGED_MAX: usize = 1 << 16;
/// Hashes that are read at a time.
const READ_HASHES: usize = 4096;

/// The hashes of all pages of a database, as of the last sealed transaction.
pub(super) struct PageHashes {
    path: PathBuf,
    file: File,
    header: Header,
    /// The last sealed transaction.
    last: Txid,
    /// Pages that changed after the base.
    changed: BTreeMap<Pgno, u128>,
    /// Size of the database after the last sealed transaction, in pages.
    commit: u32,
}

impl PageHashes {
    /// Opens the hashes and brings them to `last`, the newest file of the spool. `None` if there
    /// are none, or none that can be relied on.
    pub(super) fn open(spool: &Spool, last: Txid) -> Result<Option<Self>> {
        let path = spool.meta().join(NAME);
        let fail = |error| failed("open", &path, error);
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let mut bytes = [0; HEADER_LEN];
        let header = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Header::parse(&bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(fail(error)),
        };
        let Some(header) = header else {
            tracing::warn!(path = %path.display(), "the page hashes are damaged and not used");
            return Ok(None);
        };
        let is_whole = file.metadata().map_err(fail)?.len() >= offset(header.commit);
        if !is_whole || header.flushing > last || !is_file_of(spool, &header)? {
            return Ok(None);
        }
        let mut hashes = Self {
            path,
            file,
            last: header.base,
            commit: header.commit,
            changed: BTreeMap::new(),
            header,
        };
        let names = spool.names()?;
        while hashes.last < last {
            if !hashes.catch_up(spool, &names)? {
                return Ok(None);
            }
        }
        Ok(Some(hashes))
    }

    /// The transaction whose pages are hashed.
    pub(super) fn last(&self) -> Txid {
        self.last
    }

    /// The transaction from which on the local files must stay.
    pub(super) fn base(&self) -> Txid {
        self.header.base
    }

    pub(super) fn page_size(&self) -> PageSize {
        self.header.page_size
    }

    pub(super) fn hash(&self, page: &[u8]) -> u128 {
        self.header.hash(page)
    }

    /// Records the pages of the file that was sealed after the last one.
    pub(super) fn sealed(
        &mut self,
        spool: &Spool,
        txid: Txid,
        commit: u32,
        pages: impl IntoIterator<Item = (Pgno, u128)>,
    ) -> Result<()> {
        self.changed.extend(pages);
        self.commit = commit;
        self.last = txid;
        if self.changed.len() > CHANGED_MAX {
            self.flush(spool)?;
        }
        Ok(())
    }

    /// Writes what waits in memory; local files before the new base are needed no longer.
    pub(super) fn flush(&mut self, spool: &Spool) -> Result<()> {
        if self.last == self.header.base {
            return Ok(());
        }
        let target = Header {
            base: self.last,
            flushing: self.last,
            commit: self.commit,
            file_checksum: spool.checksum(name(self.last))?,
            ..self.header
        };
        let begun = Header {
            flushing: self.last,
            ..self.header
        };
        let write = || -> io::Result<()> {
            self.file.write_all_at(&begun.encode(), 0)?;
            self.file.sync_data()?;
            for (at, run) in runs(&self.changed, self.commit) {
                self.file.write_all_at(&run, at)?;
            }
            self.file.set_len(offset(self.commit))?;
            self.file.sync_data()?;
            self.file.write_all_at(&target.encode(), 0)?;
            self.file.sync_data()
        };
        write().map_err(|error| failed("write", &self.path, error))?;
        self.header = target;
        self.changed.clear();
        Ok(())
    }

    /// Goes through the hashes, by ascending page.
    pub(super) fn reader(&self) -> HashReader<'_> {
        HashReader {
            hashes: self,
            first: 0,
            block: Vec::new(),
        }
    }

    /// Hashes the pages of the next local file; `false` if it is not what it should be.
    fn catch_up(&mut self, spool: &Spool, names: &[FileName]) -> Result<bool> {
        let Some(next) = self.last.next() else {
            return Ok(false);
        };
        if names.binary_search(&name(next)).is_err() {
            return Ok(false);
        }
        let mut reader = Reader::new(spool.open_file(name(next))?);
        let Ok(header) = reader.header() else {
            return Ok(false);
        };
        if header.page_size != self.page_size() || header.range != TxidRange::single(next) {
            return Ok(false);
        }
        let mut pages = Vec::new();
        loop {
            match reader.next_page() {
                Ok(Some((pgno, page))) => pages.push((pgno, self.hash(page))),
                Ok(None) => break,
                Err(_) => return Ok(false),
            }
        }
        self.sealed(spool, next, header.commit, pages)?;
        Ok(true)
    }
}

/// Reads hashes in order, a block at a time.
pub(super) struct HashReader<'a> {
    hashes: &'a PageHashes,
    /// Index of the first hash in `block`.
    first: u64,
    block: Vec<u8>,
}

impl HashReader<'_> {
    /// Whether the page is other than it was in the last sealed transaction. A page that was not
    /// part of the database then is.
    pub(super) fn is_changed(&mut self, pgno: Pgno, page: &[u8]) -> Result<bool> {
        if pgno.get() > self.hashes.commit {
            return Ok(true);
        }
        let known = match self.hashes.changed.get(&pgno) {
            Some(&hash) => Some(hash),
            None if pgno.get() > self.hashes.header.commit => None,
            None => self.stored(u64::from(pgno.get()) - 1)?,
        };
        Ok(known != Some(self.hashes.hash(page)))
    }

    fn stored(&mut self, index: u64) -> Result<Option<u128>> {
        let held = (self.block.len() / HASH_LEN) as u64;
        if !(self.first..self.first + held).contains(&index) {
            let total = u64::from(self.hashes.header.commit);
            let count = total.saturating_sub(index).min(READ_HASHES as u64);
            self.block
                .resize(HASH_LEN * usize::try_from(count).unwrap_or(0), 0);
            self.first = index;
            let at = HEADER_LEN as u64 + index * HASH_LEN as u64;
            let read = self.hashes.file.read_exact_at(&mut self.block, at);
            read.map_err(|error| failed("read", &self.hashes.path, error))?;
        }
        let at = usize::try_from(index - self.first).unwrap_or(usize::MAX);
        Ok(self
            .block
            .as_chunks::<HASH_LEN>()
            .0
            .get(at)
            .map(|hash| u128::from_le_bytes(*hash)))
    }
}

/// New hashes, made while a file is written that holds every page.
pub(super) struct NewHashes {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    header: Header,
    /// How many hashes were written.
    count: u32,
}

impl NewHashes {
    pub(super) fn begin(spool: &Spool, page_size: PageSize) -> Result<Self> {
        let path = spool.meta().join(NAME);
        let temporary = path.with_extension("tmp");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let mut begin = || -> io::Result<BufWriter<File>> {
            let mut out = BufWriter::new(options.mode(0o600).open(&temporary)?);
            out.seek(SeekFrom::Start(HEADER_LEN as u64))?;
            Ok(out)
        };
        let out = begin().map_err(|error| failed("create", &temporary, error))?;
        Ok(Self {
            header: Header::new(page_size, rand::random()),
            path,
            temporary,
            out,
            count: 0,
        })
    }

    /// The next page. The lock page, which is never written, is skipped.
    pub(super) fn push(&mut self, pgno: Pgno, page: &[u8]) -> Result<()> {
        let hash = self.header.hash(page).to_le_bytes();
        let mut write = || -> io::Result<()> {
            for _ in self.count..pgno.get().saturating_sub(1) {
                self.out.write_all(&[0; HASH_LEN])?;
            }
            self.out.write_all(&hash)
        };
        write().map_err(|error| failed("write", &self.temporary, error))?;
        self.count = pgno.get();
        Ok(())
    }

    /// Puts them in the place of the old ones, for the file of `txid` that was just sealed.
    pub(super) fn finish(mut self, spool: &Spool, txid: Txid, commit: u32) -> Result<PageHashes> {
        self.header.base = txid;
        self.header.flushing = txid;
        self.header.commit = commit;
        self.header.file_checksum = spool.checksum(name(txid))?;
        let header = self.header;
        let finish = || -> io::Result<File> {
            self.out.flush()?;
            let file = self.out.into_inner().map_err(io::Error::other)?;
            file.set_len(offset(commit))?;
            file.write_all_at(&header.encode(), 0)?;
            file.sync_all()?;
            std::fs::rename(&self.temporary, &self.path)?;
            File::open(spool.meta())?.sync_all()?;
            Ok(file)
        };
        let file = finish().map_err(|error| failed("write", &self.path, error))?;
        Ok(PageHashes {
            path: self.path,
            file,
            header,
            last: txid,
            changed: BTreeMap::new(),
            commit,
        })
    }
}

/// Whether the spool still has the very file that the hashes were made from.
fn is_file_of(spool: &Spool, header: &Header) -> Result<bool> {
    let name = name(header.base);
    Ok(spool.names()?.contains(&name) && spool.checksum(name)? == header.file_checksum)
}

/// Hashes of neighbouring pages together, with their place in the file.
fn runs(changed: &BTreeMap<Pgno, u128>, commit: u32) -> Vec<(u64, Vec<u8>)> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for (pgno, hash) in changed.iter().filter(|(pgno, _)| pgno.get() <= commit) {
        let at = offset(pgno.get() - 1);
        match runs.last_mut() {
            Some((start, run)) if *start + run.len() as u64 == at => {
                run.extend_from_slice(&hash.to_le_bytes());
            }
            _ => runs.push((at, hash.to_le_bytes().to_vec())),
        }
    }
    runs
}

/// Where the hashes of `pages` pages end in the file.
fn offset(pages: u32) -> u64 {
    HEADER_LEN as u64 + u64::from(pages) * HASH_LEN as u64
}

fn name(txid: Txid) -> FileName {
    FileName::new(TxidRange::single(txid))
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {what} {}", path.display())).with_source(error)
}
