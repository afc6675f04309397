//! Capture: committed transactions from the log of one database into sealed L0 files.
//!
//! Three connections of ours are open on the database. *Control* is never in a transaction: it
//! asks for the state of the log and runs checkpoints. *Pin* holds a read mark, so that nobody
//! restarts the log past what was captured. *Writer* takes the write lock for the moment in which
//! a checkpoint must not be overtaken.

mod checkpoint;
mod connection;
mod encode;
mod image;
mod log;
mod pin;
mod snapshot;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper_ltx::wal::{FRAME_HEADER_LEN, WalHeader, frame_offset};
use lockkeeper_ltx::{
    Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalIndexHeader, WalSpan,
};
use rusqlite::Connection;

#[cfg(test)]
use self::checkpoint::CheckpointReport;
pub(crate) use self::connection::is_database;
use self::encode::{WRITE_BYTES, encode};
use self::image::Image;
use self::log::{FrameMap, LogFile, Position, Run};
use self::pin::Pin;
pub(crate) use self::snapshot::Snapshot;
use crate::spool::{SealedFile, Spool};
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

/// Whether a log goes on from the last sealed file.
enum Continuity {
    /// From this place.
    Proven(Position),
    /// Frames may have been missed.
    Broken,
    /// The log changed while it was read.
    Unknown,
}

/// What a file was sealed from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sealed {
    /// The pages that changed.
    Incremental(Txid),
    /// Every page, because continuity could not be proven.
    Full(Txid),
}

impl Sealed {
    pub(crate) fn txid(self) -> Txid {
        match self {
            Self::Incremental(txid) | Self::Full(txid) => txid,
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
    /// `None` if the next file must hold every page.
    position: Option<Position>,
    /// Size of the database after the last sealed file, in pages.
    commit: u32,
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
            commit: 0,
            identity,
            options,
        };
        if let Some(file) = newest
            && base.is_none_or(|base| base <= file.name.range().max())
        {
            capture.last = Some(file.name.range().max());
            capture.commit = file.header.commit;
            capture.position = capture.find(&file, &header)?;
            if capture.position.is_none() {
                tracing::info!(
                    database = %capture.options.database.display(),
                    "the log does not continue the last local file; the next file holds every page"
                );
            }
        }
        Ok(capture)
    }

    /// The last sealed transaction.
    pub(crate) fn last(&self) -> Option<Txid> {
        self.last
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

    /// Whether commits wait to be sealed.
    pub(crate) fn is_pending(&self) -> Result<bool> {
        let Some(position) = &self.position else {
            return Ok(true);
        };
        let state = connection::log_state(&self.control)?;
        if state.frames == 0 {
            return Ok(false);
        }
        let is_same_log = (state.salt1, state.salt2) == position.salts();
        Ok(!is_same_log || u64::from(state.frames) != position.frames())
    }

    /// Committed frames that are not yet copied into the database.
    pub(crate) fn wal_pages(&self) -> Result<u32> {
        connection::log_state(&self.control).map(|s| s.frames.saturating_sub(s.backfilled))
    }

    /// Seals the next file, if anything was committed since the last one. One call reads at most
    /// `max_sync_bytes` of log; call again until it returns `None`.
    pub(crate) fn seal_next(&mut self) -> Result<Option<Sealed>> {
        if self.pin.is_none() {
            self.repin()?;
        }
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
                Continuity::Broken => return self.seal_full(&header, &state).map(Some),
                Continuity::Unknown => continue,
            };
            if frames == position.frames() {
                return Ok(None);
            }
            let max_bytes = self.options.max_sync_bytes;
            if let Some(run) = self.log.read(&position, frames, max_bytes)? {
                return self.seal_run(&position, run, &state).map(Some);
            }
        }
        Err(Error::unavailable(format!(
            "{} does not hold the frames that its index promises; it is read again",
            self.log.path().display()
        )))
    }

    /// Whether the log that has this header and state goes on from the last sealed file.
    ///
    /// A log with the same salts only grows, so what follows is all there is. One with other salts
    /// was begun meanwhile: SQLite counts the transactions of all logs, so if as many were
    /// committed as the new log holds, nothing was in between.
    fn continued(&self, header: &WalHeader, state: &WalIndexHeader) -> Result<Continuity> {
        let Some(position) = &self.position else {
            return Ok(Continuity::Broken);
        };
        let frames = u64::from(state.frames);
        if header.page_size != self.page_size {
            return Ok(Continuity::Broken);
        }
        if position.is_same_log(header) {
            // Fewer frames mean another history.
            let is_shorter = frames != 0 && frames < position.frames();
            return Ok(if is_shorter {
                Continuity::Broken
            } else {
                Continuity::Proven(position.clone())
            });
        }
        let start = Position {
            changes: position.changes,
            ..Position::start_of(*header)
        };
        let Some(run) = self.log.read(&start, frames, 0)? else {
            return Ok(Continuity::Unknown);
        };
        Ok(if start.changes_after(&run) == Some(state.changes) {
            Continuity::Proven(start)
        } else {
            Continuity::Broken
        })
    }

    fn seal_run(&mut self, from: &Position, run: Run, state: &WalIndexHeader) -> Result<Sealed> {
        let changes = if run.end.frames() == u64::from(state.frames) {
            Some(state.changes)
        } else {
            from.changes_after(&run)
        };
        let mut pages = run.pages;
        let mut frames = None;
        let lock_page = self.page_size.lock_page();
        // A page that came with growth but was never written is on the free list; it still has
        // content, and the restored file must have the same.
        let grown: Vec<Pgno> = (self.commit.saturating_add(1)..=run.commit)
            .filter_map(Pgno::new)
            .filter(|pgno| *pgno != lock_page && !pages.contains_key(pgno))
            .collect();
        let mut wanted: Vec<Pgno> = pages.keys().copied().filter(|p| *p != lock_page).collect();
        if !grown.is_empty() {
            wanted.extend(&grown);
            wanted.sort_unstable();
            frames = self.frames_until(&run.end)?;
        }
        if let Some(mut all) = frames {
            all.append(&mut pages);
            pages = all;
        }
        let span = span(from, &run.end);
        let txid = self.write_file(&wanted, &pages, run.commit, span)?;
        self.position = Some(Position { changes, ..run.end });
        self.commit = run.commit;
        Ok(Sealed::Incremental(txid))
    }

    /// Seals every page of the database as it is in this state of the log.
    fn seal_full(&mut self, header: &WalHeader, state: &WalIndexHeader) -> Result<Sealed> {
        let start = Position::start_of(*header);
        let run = self
            .log
            .read(&start, state.frames.into(), 0)?
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "{} changed while it was read",
                    self.log.path().display()
                ))
            })?;
        let lock_page = header.page_size.lock_page();
        let wanted: Vec<Pgno> = (1..=run.commit)
            .filter_map(Pgno::new)
            .filter(|pgno| *pgno != lock_page)
            .collect();
        self.page_size = header.page_size;
        let txid = self.write_file(&wanted, &run.pages, run.commit, span(&start, &run.end))?;
        self.position = Some(Position {
            changes: Some(state.changes),
            ..run.end
        });
        self.commit = run.commit;
        Ok(Sealed::Full(txid))
    }

    fn write_file(
        &mut self,
        wanted: &[Pgno],
        frames: &FrameMap,
        commit: u32,
        wal: WalSpan,
    ) -> Result<Txid> {
        let txid = match self.last {
            None => Txid::FIRST,
            Some(last) => last
                .next()
                .ok_or_else(|| Error::internal("transaction ids are used up"))?,
        };
        let pin = self
            .pin
            .as_ref()
            .ok_or_else(|| Error::internal("the log is not held"))?;
        let image = Image {
            pin: pin.connection(),
            log: &self.log,
            frames,
            page_size: self.page_size,
        };
        let header = Header::new(
            self.page_size,
            commit,
            TxidRange::single(txid),
            crate::clock::now_ms(),
            wal,
        );
        let mut draft = self.spool.create(txid)?;
        let mut out = Vec::with_capacity(WRITE_BYTES);
        encode(
            &image,
            header,
            self.options.encoding,
            wanted,
            &mut out,
            &mut |bytes| draft.write(bytes),
        )?;
        draft.seal()?;
        self.last = Some(txid);
        Ok(txid)
    }

    /// The newest frame of each page from the start of the log of `end` up to there.
    fn frames_until(&self, end: &Position) -> Result<Option<FrameMap>> {
        let run = self
            .log
            .read(&Position::start_of(end.header), end.frames(), 0)?;
        run.map(|run| Ok(run.pages)).transpose()
    }

    /// Finds the place in the log at which a sealed file ended; `None` if the log does not go back
    /// to it.
    fn find(&self, file: &SealedFile, header: &WalHeader) -> Result<Option<Position>> {
        let wal = file.header.wal;
        let same_log = (wal.salt1, wal.salt2) == (header.salt1, header.salt2);
        let frame_len = FRAME_HEADER_LEN as u64 + u64::from(header.page_size.get());
        let end = wal.end().saturating_sub(frame_offset(0, header.page_size));
        if file.header.page_size != header.page_size
            || !same_log
            || wal.size == 0
            || !end.is_multiple_of(frame_len)
        {
            return Ok(None);
        }
        let frames = end / frame_len;
        let state = connection::log_state(&self.control)?;
        if u64::from(state.frames) < frames {
            return Ok(None);
        }
        let Some(run) = self.log.read(&Position::start_of(*header), frames, 0)? else {
            return Ok(None);
        };
        if run.end.frames() != frames || run.commit != file.header.commit {
            return Ok(None);
        }
        // A database that was put back to an older copy and went on has the same salts and another
        // history: the last frame tells.
        let Some(last_frame) = frames.checked_sub(1) else {
            return Ok(None);
        };
        let Some((&pgno, _)) = run.pages.iter().find(|(_, frame)| **frame == last_frame) else {
            return Ok(None);
        };
        let mut page = vec![0; header.page_size.bytes()];
        self.log
            .read_page(last_frame, header.page_size, &mut page)?;
        let sealed = self.spool.page(file.name, pgno)?;
        if sealed.as_deref() != Some(page.as_slice()) {
            return Ok(None);
        }
        let changes = self.changes_at(&run.end, &state)?;
        Ok(Some(Position { changes, ..run.end }))
    }

    /// SQLite's count of transactions at a place in the log, counted back from its end.
    fn changes_at(&self, place: &Position, state: &WalIndexHeader) -> Result<Option<u32>> {
        if place.frames() == u64::from(state.frames) {
            return Ok(Some(state.changes));
        }
        let rest = self.log.read(place, state.frames.into(), 0)?;
        Ok(rest.map(|rest| state.changes.wrapping_sub(rest.transactions)))
    }

    /// Replaces the pin by one at the end of the log. The old one goes last, so that the log is
    /// held without a gap where it was held.
    fn repin(&mut self) -> Result<()> {
        let pin = Pin::take(&self.options, &self.control, &self.writer)?;
        self.pin = Some(pin);
        Ok(())
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

/// The part of a log between two places, as the header of an L0 file states it.
fn span(from: &Position, end: &Position) -> WalSpan {
    let offset = frame_offset(from.frames(), end.header.page_size);
    WalSpan {
        offset,
        size: frame_offset(end.frames(), end.header.page_size).saturating_sub(offset),
        salt1: end.header.salt1,
        salt2: end.header.salt2,
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

fn file_identity(path: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).map_err(|error| {
        Error::unavailable(format!("cannot find the database {}", path.display()))
            .with_source(error)
    })?;
    Ok((metadata.dev(), metadata.ino()))
}
