//! Capture: committed transactions from the log of one database into sealed L0 files.
//!
//! Three connections of ours are open on the database. *Control* is never in a transaction: it
//! asks for the state of the log and runs checkpoints. *Pin* holds a read mark, so that nobody
//! restarts the log past what was captured. *Writer* takes the write lock for the moment in which
//! a checkpoint must not be overtaken.

mod checkpoint;
mod connection;
mod continuity;
mod encode;
mod frames;
mod image;
mod listing;
mod log;
mod ours;
mod page_hashes;
mod pin;
mod seal;
mod snapshot;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_ltx::wal::FRAME_HEADER_LEN;
use lockkeeper_ltx::{PageEncoding, PageSize, Txid, WalIndexHeader};
use rusqlite::Connection;

#[cfg(test)]
use self::checkpoint::CheckpointReport;
pub(crate) use self::connection::is_database;
use self::continuity::{Continuity, Found};
use self::log::{LogFile, Position};
use self::ours::Ours;
pub(crate) use self::page_hashes::NAME as PAGE_HASHES;
use self::page_hashes::PageHashes;
use self::pin::Pin;
pub(crate) use self::snapshot::Snapshot;
use crate::spool::Spool;
use crate::{Error, Result};

/// How often a read of the log is tried again when the log was restarted under it.
const READ_TRIES: u32 = 10;
/// What capture needs to know.
#[derive(Clone, Debug)]
pub(crate) struct CaptureOptions {
    pub(crate) database: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// Log bytes per file, cut at the end of a transaction; 0 for no limit.
    pub(crate) max_sync_bytes: u64,
    pub(crate) encoding: PageEncoding,
}

/// What a file was sealed from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sealed {
    /// The pages that changed.
    Incremental(Txid),
    /// The pages that differ from the last file, although continuity could not be proven.
    Compared(Txid),
    /// Every page, because continuity could not be proven.
    Full(Txid),
}

impl Sealed {
    pub(crate) fn txid(self) -> Txid {
        match self {
            Self::Incremental(txid) | Self::Compared(txid) | Self::Full(txid) => txid,
        }
    }
}

/// The capture of one database.
pub(crate) struct Capture {
    options: CaptureOptions,
    spool: Spool,
    control: Connection,
    writer: Connection,
    pin: Option<Pin>,
    log: LogFile,
    page_size: PageSize,
    /// The last sealed file; the next one is numbered after it.
    last: Option<Txid>,
    /// `None` if the log does not go on from the last sealed file.
    position: Option<Position>,
    /// `None` if they are not known for the last sealed file.
    hashes: Option<PageHashes>,
    /// Size of the database after the last sealed file, in pages.
    commit: u32,
    /// The last sealed transaction of a past that the database no longer has.
    undone: Option<Txid>,
    /// The last sealed files.
    ours: Ours,
    identity: (u64, u64),
}

impl Capture {
    /// Opens a database, switches it to WAL mode, holds its log, and finds out where the last
    /// sealed file left off.
    ///
    /// `base` is the last transaction of the replica if it is ahead of the local files; the next
    /// file then follows it and holds every page.
    pub(crate) fn open(options: CaptureOptions, spool: Spool, base: Option<Txid>) -> Result<Self> {
        let path = &options.database;
        let identity = file_identity(path)?;
        let control = connection::open(path, options.busy_timeout)?;
        let writer = connection::open(path, options.busy_timeout)?;
        prepare(&writer, path)?;
        // A connection knows nothing of the log before it first read the database.
        control
            .query_row("SELECT COUNT(*) FROM _litestream_seq", [], |_| Ok(()))
            .map_err(|e| {
                Error::unavailable(format!("cannot read {}", path.display())).with_source(e)
            })?;
        let log = LogFile::open(path)?;
        let pin = Pin::take(&options, &control, &writer)?;
        let header = log
            .header()?
            .ok_or_else(|| Error::corrupt(format!("{} has no header", log.path().display())))?;
        let newest = spool.newest()?;
        let mut capture = Self {
            spool,
            control,
            writer,
            pin: Some(pin),
            log,
            page_size: header.page_size,
            last: base,
            position: None,
            hashes: None,
            commit: 0,
            undone: None,
            ours: Ours::default(),
            identity,
            options,
        };
        if let Some(file) = newest
            && base.is_none_or(|base| base <= file.name.range().max())
        {
            capture.last = Some(file.name.range().max());
            capture.commit = file.header.commit;
            match capture.find(&file, &header)? {
                Found::At(position) => capture.position = Some(position),
                Found::Behind => capture.came_back_older(),
                Found::Unknown => {}
            }
            let hashes = PageHashes::open(&capture.spool, file.name.range().max());
            capture.hashes = capture.or_none(hashes).flatten();
            if capture.position.is_none() {
                tracing::info!(
                    database = %capture.options.database.display(),
                    hashes = capture.hashes.is_some(),
                    "the log does not continue the last local file; the pages are compared if \
                     their hashes are known, else all are sent"
                );
            }
        }
        Ok(capture)
    }

    /// The last sealed transaction.
    pub(crate) fn last(&self) -> Option<Txid> {
        self.last
    }

    /// The oldest sealed file that must stay on the local disk for the page hashes; `None` if none
    /// must.
    pub(crate) fn needs_from(&self) -> Option<Txid> {
        self.hashes.as_ref().map(PageHashes::base)
    }

    /// Writes the page hashes that wait in memory, so that fewer local files are needed.
    pub(crate) fn keep_hashes(&mut self) {
        if let Some(mut hashes) = self.hashes.take() {
            let kept = hashes.flush(&self.spool);
            self.hashes = self.or_none(kept.map(|()| hashes));
        }
    }

    /// The last sealed transaction of a past that the database no longer has: it lost its newest
    /// commits in a power cut, or was put back to an older copy.
    pub(crate) fn undone(&self) -> Option<Txid> {
        self.undone
    }

    /// Commits a small change to a table of ours, so that there is a new transaction.
    pub(crate) fn commit_of_ours(&self) -> Result<()> {
        let bumped = pin::bump(&self.writer);
        bumped
            .map(drop)
            .map_err(|error| self.failed("write to", error))
    }

    fn came_back_older(&mut self) {
        self.undone = self.last;
        if let Some(txid) = self.last {
            tracing::error!(
                database = %self.options.database.display(), %txid,
                "the database is older than what was captured of it; what it lost can be restored \
                 from the replica as transaction {txid}, for as long as that is kept"
            );
        }
    }

    #[cfg(test)]
    pub(crate) fn spool(&self) -> &Spool {
        &self.spool
    }

    pub(crate) fn database_bytes(&self) -> u64 {
        u64::from(self.commit).saturating_mul(u64::from(self.page_size.get()))
    }

    /// Whether the file that was opened is still the one the path leads to.
    pub(crate) fn is_in_place(&self) -> bool {
        file_identity(&self.options.database).is_ok_and(|now| now == self.identity)
            && self.log.is_in_place()
    }

    /// Whether another program replaces sealed files.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.ours.replaced(&self.spool).is_some()
    }

    /// Begins anew, with every page, if another program replaced a sealed file: what it sent under
    /// that name is not what the files after it go on from.
    fn begin_anew_if_disturbed(&mut self) {
        let Some(name) = self.ours.replaced(&self.spool) else {
            return;
        };
        tracing::error!(
            database = %self.options.database.display(), file = %name,
            "another program writes to the state directory of the database, perhaps Litestream: \
             stop it, as both send files of the same names; every page is sent anew"
        );
        self.ours = Ours::default();
        self.position = None;
        self.hashes = None;
    }

    /// Whether commits wait to be sealed.
    pub(crate) fn is_pending(&self) -> Result<bool> {
        if self.is_disturbed() {
            return Ok(true);
        }
        let Some(position) = &self.position else {
            return Ok(true);
        };
        let state = connection::log_state(&self.control)?;
        if state.frames == 0 {
            return Ok(false);
        }
        Ok(!is_at_end(position, &state))
    }

    /// Whether nothing waits to be sealed, as far as one look at memory shows.
    pub(crate) fn is_certainly_idle(&self) -> bool {
        match (&self.position, connection::log_state_now(&self.control)) {
            (Some(position), Ok(Some(state))) => state.frames == 0 || is_at_end(position, &state),
            _ => false,
        }
    }

    /// Committed frames in the log, and their bytes.
    pub(crate) fn log_size(&self) -> Result<(u32, u64)> {
        let frames = connection::log_state(&self.control)?.frames;
        Ok((frames, u64::from(frames).saturating_mul(self.frame_len())))
    }

    /// The bytes of the committed frames that are not sealed.
    pub(crate) fn pending_bytes(&self) -> Result<u64> {
        let state = connection::log_state(&self.control)?;
        let sealed = self.position.as_ref();
        let sealed = sealed.filter(|it| it.salts() == (state.salt1, state.salt2));
        let frames = u64::from(state.frames).saturating_sub(sealed.map_or(0, Position::frames));
        Ok(frames.saturating_mul(self.frame_len()))
    }

    /// Committed frames that are not yet copied into the database.
    pub(crate) fn wal_pages(&self) -> Result<u32> {
        connection::log_state(&self.control).map(|s| s.frames.saturating_sub(s.backfilled))
    }

    /// Seals the next file, if anything was committed since the last one. One call reads at most
    /// `max_sync_bytes` of log; call again until it returns `None`.
    fn seal_next(&mut self) -> Result<Option<Sealed>> {
        if self.pin.is_none() {
            self.repin()?;
        }
        self.begin_anew_if_disturbed();
        for _ in 0..READ_TRIES {
            let state = connection::log_state(&self.control)?;
            if state.frames == 0 && self.position.is_some() {
                return Ok(None);
            }
            let Some(header) = self.log.header()? else {
                continue;
            };
            // The log is restarted in its index first, and in the file with the first frame.
            if (header.salt1, header.salt2) != (state.salt1, state.salt2) {
                continue;
            }
            let frames = u64::from(state.frames);
            let position = match self.continued(&header, &state)? {
                Continuity::Proven(position) => position,
                Continuity::Behind => {
                    self.came_back_older();
                    return self.seal_state(&header, &state).map(Some);
                }
                Continuity::Broken => return self.seal_state(&header, &state).map(Some),
                Continuity::Unknown => continue,
            };
            if frames == position.frames() {
                return Ok(None);
            }
            let run = if self.fits_one_file(frames.saturating_sub(position.frames())) {
                self.run_until(&position, &state)?
            } else {
                let max_bytes = self.options.max_sync_bytes;
                self.log.read(&position, frames, max_bytes)?
            };
            if let Some(run) = run {
                return self.seal_run(&position, run, &state).map(Some);
            }
        }
        Err(Error::unavailable(format!(
            "{} does not hold the frames that its index promises; it is read again",
            self.log.path().display()
        )))
    }

    fn fits_one_file(&self, frames: u64) -> bool {
        let max_bytes = self.options.max_sync_bytes;
        max_bytes == 0 || frames.saturating_mul(self.frame_len()) <= max_bytes
    }

    fn frame_len(&self) -> u64 {
        u64::from(self.page_size.get()).saturating_add(FRAME_HEADER_LEN as u64)
    }

    /// Seals everything that was committed when it was called, and tells `each` of every file. What
    /// is committed meanwhile is left for the next call: an application that never pauses would
    /// otherwise never let it end, and get a file for each few of its commits.
    pub(crate) fn seal_committed(&mut self, mut each: impl FnMut(Sealed)) -> Result<()> {
        let goal = connection::log_state(&self.control)?;
        while let Some(sealed) = self.seal_next()? {
            each(sealed);
            if self.has_reached(&goal) {
                break;
            }
        }
        Ok(())
    }

    /// Whether everything is sealed that was committed in this state of the log. If another log was
    /// begun since, what was sealed last is from there, and so comes after it.
    fn has_reached(&self, goal: &WalIndexHeader) -> bool {
        self.position.as_ref().is_some_and(|position| {
            position.salts() != (goal.salt1, goal.salt2)
                || position.frames() >= u64::from(goal.frames)
        })
    }

    /// Replaces the pin by one at the end of the log. The old one goes last, so that the log is
    /// held without a gap where it was held.
    /// Returns how long other writers were kept out for it.
    fn repin(&mut self) -> Result<Duration> {
        let pin = Pin::take(&self.options, &self.control, &self.writer)?;
        let held = pin.write_lock_held;
        self.pin = Some(pin);
        Ok(held)
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> Error {
        Error::unavailable(format!("cannot {what} {}", self.options.database.display()))
            .with_source(error)
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("database", &self.options.database)
            .finish_non_exhaustive()
    }
}

/// Switches the database to WAL mode and makes the two tables that Litestream keeps in it.
fn prepare(connection: &Connection, path: &Path) -> Result<()> {
    let failed = |error: rusqlite::Error| {
        Error::unavailable(format!("cannot prepare {} for replication", path.display()))
            .with_source(error)
    };
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::invalid(format!(
            "{} stays in journal mode {mode:?}; replication needs WAL mode",
            path.display()
        )));
    }
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE IF NOT EXISTS _litestream_lock (id INTEGER);",
        )
        .map_err(failed)
}

/// Whether everything in the log of that state was captured.
fn is_at_end(position: &Position, state: &WalIndexHeader) -> bool {
    let is_same_log = (state.salt1, state.salt2) == position.salts();
    is_same_log && u64::from(state.frames) == position.frames()
}

fn file_identity(path: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|error| {
        Error::unavailable(format!("cannot find the database {}", path.display()))
            .with_source(error)
    })?;
    Ok((metadata.dev(), metadata.ino()))
}
