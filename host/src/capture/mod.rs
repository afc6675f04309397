//! Capture: committed transactions from the log of one database into sealed L0 files.
//!
//! Three connections of ours are open on the database. *Control* is never in a transaction: it
//! asks for the state of the log and runs checkpoints. *Pin* holds a read mark, so that nobody
//! restarts the log past what was captured. *Writer* takes the write lock for the moment in which
//! a checkpoint must not be overtaken.

mod connection;
mod image;
mod log;
mod pin;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockkeeper_ltx::wal::{FRAME_HEADER_LEN, WalHeader, frame_offset};
use lockkeeper_ltx::{Encoder, Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan};
use rusqlite::Connection;

use self::connection::CheckpointMode;
pub(crate) use self::connection::is_database;
use self::image::Image;
use self::log::{FrameMap, LogFile, Position, Run};
use self::pin::Pin;
use crate::spool::{SealedFile, Spool};
use crate::{Error, Result};

/// How often a read of the log is tried again when the log was restarted under it.
const READ_TRIES: u32 = 10;
/// Encoded bytes that are collected before they are written to a file.
const WRITE_BYTES: usize = 256 << 10;

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

/// What a checkpoint did.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointReport {
    /// Files sealed on the way.
    pub(crate) sealed: Vec<Sealed>,
    /// Whether every frame was copied, so that the next commit restarts the log.
    pub(crate) complete: bool,
    /// How long other writers were kept out.
    pub(crate) write_lock_held: Duration,
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
    /// Whether everything in the log of `position` was captured, proven under the write lock.
    log_complete: bool,
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
        let pin = Pin::take(&options, &control, &writer, &log)?;
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
            log_complete: false,
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
        let Some(header) = self.log.header()? else {
            return Ok(false);
        };
        Ok(!position.is_same_log(&header) || state.frames != position.frames())
    }

    /// Committed frames that are not yet copied into the database.
    pub(crate) fn wal_pages(&self) -> Result<u64> {
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
            let Some(position) = self.continued(&header, state.frames)? else {
                return self.seal_full(&header, state.frames).map(Some);
            };
            if state.frames == position.frames() {
                return Ok(None);
            }
            let max_bytes = self.options.max_sync_bytes;
            if let Some(run) = self.log.read(&position, state.frames, max_bytes)? {
                return self.seal_run(&position, run).map(Some);
            }
        }
        Err(Error::corrupt(format!(
            "{} does not hold the frames that its index promises",
            self.log.path().display()
        )))
    }

    /// Where to read on in the log that has this header; `None` if frames may have been missed.
    fn continued(&self, header: &WalHeader, frames: u64) -> Result<Option<Position>> {
        let Some(position) = &self.position else {
            return Ok(None);
        };
        if header.page_size != self.page_size {
            return Ok(None);
        }
        if position.is_same_log(header) {
            // The log of one pair of salts only grows; fewer frames mean another history.
            let shorter = frames != 0 && frames < position.frames();
            return Ok((!shorter).then(|| position.clone()));
        }
        // Each restart adds one to salt-1, whatever caused it. One step from a log that was
        // captured to its end means that every frame of the new log is new.
        let one_restart = header.salt1 == position.header.salt1.wrapping_add(1);
        Ok((one_restart && self.log_complete).then(|| Position::start_of(*header)))
    }

    fn seal_run(&mut self, from: &Position, run: Run) -> Result<Sealed> {
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
        self.log_complete = false;
        self.position = Some(run.end);
        self.commit = run.commit;
        Ok(Sealed::Incremental(txid))
    }

    /// Seals every page of the database as it is after `frames` frames of the log.
    fn seal_full(&mut self, header: &WalHeader, frames: u64) -> Result<Sealed> {
        let start = Position::start_of(*header);
        let run = self.log.read(&start, frames, 0)?.ok_or_else(|| {
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
        self.log_complete = false;
        self.position = Some(run.end);
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
        if connection::log_state(&self.control)?.frames < frames {
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
        Ok((sealed.as_deref() == Some(page.as_slice())).then_some(run.end))
    }

    /// Copies the log into the database, so that it can be restarted, without losing a commit:
    /// everything is captured while other writers are kept out, then copied.
    pub(crate) fn checkpoint(&mut self, truncate: bool) -> Result<CheckpointReport> {
        let mut report = CheckpointReport::default();
        while let Some(sealed) = self.seal_next()? {
            report.sealed.push(sealed);
        }
        // The bulk is copied first, while everybody writes on: a newer pin lets the copy come
        // close to the end of the log.
        self.repin()?;
        connection::checkpoint(&self.control, CheckpointMode::Passive)?;
        self.begin_barrier()?;
        let since = Instant::now();
        let result = self.checkpoint_behind_barrier(&mut report);
        let released = self.writer.execute_batch("ROLLBACK");
        report.write_lock_held = since.elapsed();
        result?;
        released.map_err(|e| self.failed("release the write lock of", e))?;
        if truncate && report.complete {
            // Readers may hold it off; the log is then emptied another time.
            connection::checkpoint(&self.control, CheckpointMode::Truncate)?;
        }
        self.repin()?;
        Ok(report)
    }

    fn begin_barrier(&self) -> Result<()> {
        self.writer
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO _litestream_lock (id) VALUES (1)")
            .map_err(|error| {
                // A failed INSERT leaves the transaction open.
                let _ = self.writer.execute_batch("ROLLBACK");
                self.failed("take the write lock of", error)
            })
    }

    fn checkpoint_behind_barrier(&mut self, report: &mut CheckpointReport) -> Result<()> {
        while let Some(sealed) = self.seal_next()? {
            report.sealed.push(sealed);
        }
        self.log_complete = true;
        // From here the write lock alone keeps the log from being restarted.
        self.pin = None;
        let (_, state) = connection::checkpoint(&self.control, CheckpointMode::Passive)?;
        report.complete = state.frames == state.backfilled;
        Ok(())
    }

    /// Replaces the pin by one at the end of the log. The old one goes last, so that the log is
    /// held without a gap where it was held.
    fn repin(&mut self) -> Result<()> {
        let pin = Pin::take(&self.options, &self.control, &self.writer, &self.log)?;
        self.pin = Some(pin);
        Ok(())
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> Error {
        Error::unavailable(format!("cannot {what} {}", self.options.database.display()))
            .with_source(error)
    }

    /// Everything that is needed to write a snapshot of the last sealed transaction while capture
    /// goes on; `None` if commits came in between, so that it must be tried again.
    pub(crate) fn snapshot(&self) -> Result<Option<Snapshot>> {
        let (Some(txid), Some(position)) = (self.last, &self.position) else {
            return Ok(None);
        };
        let pin = Pin::take(&self.options, &self.control, &self.writer, &self.log)?;
        let state = connection::log_state(&self.control)?;
        let Some(header) = self.log.header()? else {
            return Ok(None);
        };
        if !position.is_same_log(&header) || state.frames != position.frames() {
            return Ok(None);
        }
        let Some(frames) = self.frames_until(position)? else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            txid,
            pin,
            log: self.log.try_clone()?,
            frames,
            page_size: self.page_size,
            commit: self.commit,
            wal: last_frame_span(position),
            encoding: self.options.encoding,
        }))
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("database", &self.options.database)
            .finish_non_exhaustive()
    }
}

/// A database at one transaction, held still by a read mark of its own.
pub(crate) struct Snapshot {
    pub(crate) txid: Txid,
    pin: Pin,
    log: LogFile,
    frames: FrameMap,
    page_size: PageSize,
    commit: u32,
    wal: WalSpan,
    encoding: PageEncoding,
}

impl Snapshot {
    /// Encodes the whole database as one LTX file, in pieces.
    pub(crate) fn write(
        &self,
        timestamp_ms: i64,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let range = TxidRange::new(Txid::FIRST, self.txid)
            .ok_or_else(|| Error::internal("a snapshot ends before it starts"))?;
        let lock_page = self.page_size.lock_page();
        let wanted: Vec<Pgno> = (1..=self.commit)
            .filter_map(Pgno::new)
            .filter(|p| *p != lock_page)
            .collect();
        let image = Image {
            pin: self.pin.connection(),
            log: &self.log,
            frames: &self.frames,
            page_size: self.page_size,
        };
        let header = Header::new(self.page_size, self.commit, range, timestamp_ms, self.wal);
        encode(
            &image,
            header,
            self.encoding,
            &wanted,
            &mut Vec::new(),
            sink,
        )
    }
}

fn encode(
    image: &Image<'_>,
    header: Header,
    encoding: PageEncoding,
    wanted: &[Pgno],
    out: &mut Vec<u8>,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let refused = |error: lockkeeper_ltx::EncodeError| {
        Error::internal("cannot encode a file").with_source(error)
    };
    let mut encoder = Encoder::new(header, encoding, out).map_err(refused)?;
    let mut page = vec![0; image.page_size.bytes()];
    for &pgno in wanted {
        image.read(pgno, &mut page)?;
        encoder.page(pgno, &page, out).map_err(refused)?;
        if out.len() >= WRITE_BYTES {
            sink(out)?;
            out.clear();
        }
    }
    encoder.finish(out).map_err(refused)?;
    sink(out)
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

/// Litestream's snapshots state the last frame only.
fn last_frame_span(end: &Position) -> WalSpan {
    let page_size = end.header.page_size;
    let offset = frame_offset(end.frames().saturating_sub(1), page_size);
    WalSpan {
        offset,
        size: frame_offset(end.frames(), page_size).saturating_sub(offset),
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
