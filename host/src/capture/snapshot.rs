//! The whole database at one transaction, as one file, while capture goes on.

use std::time::{Duration, Instant};

use lockkeeper_ltx::wal::frame_offset;
use lockkeeper_ltx::{Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan};

use super::encode::{Sink, encode};
use super::image::Image;
use super::log::{FrameMap, LogFile, Position};
use super::pin::Pin;
use super::seal::pages_of;
use super::{Capture, Sealed, connection};
use crate::{Error, Result};

impl Capture {
    /// Everything that is needed to write a snapshot of the last sealed transaction while capture
    /// goes on; `None` if commits came in between, so that it must be tried again.
    pub(crate) fn snapshot(&self) -> Result<Option<Snapshot>> {
        let (Some(txid), Some(position)) = (self.last, &self.position) else {
            return Ok(None);
        };
        let pin = Pin::take(&self.options, &self.control, &self.writer)?;
        let state = connection::log_state(&self.control)?;
        let Some(header) = self.log.header()? else {
            return Ok(None);
        };
        if !position.is_same_log(&header) || u64::from(state.frames) != position.frames() {
            return Ok(None);
        }
        let Some(frames) = self.frames_until(position, self.commit)? else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            txid,
            pin,
            log: self.log.try_clone()?,
            frames,
            end: position.clone(),
            commit: self.commit,
            encoding: self.options.encoding,
        }))
    }
}

impl Capture {
    /// The same under a stream of commits that never pauses: other writers are kept out while the
    /// last of them are sealed and the mark is taken. Returns how long as well. `None` if somebody
    /// writes for longer than the busy timeout, or nothing in the log could be marked.
    pub(crate) fn snapshot_behind_barrier(
        &mut self,
        each: impl FnMut(Sealed),
    ) -> Result<Option<(Snapshot, Duration)>> {
        if !self.begin_barrier()? {
            return Ok(None);
        }
        let since = Instant::now();
        let taken = self.seal_committed(each).and_then(|()| {
            // A mark at the end of a log that is copied would hold nothing.
            if self.wal_pages()? == 0 {
                return Ok(None);
            }
            self.snapshot()
        });
        self.end_barrier()?;
        Ok(taken?.map(|snapshot| (snapshot, since.elapsed())))
    }
}

/// A database at one transaction, held still by a read mark of its own.
pub(crate) struct Snapshot {
    pub(crate) txid: Txid,
    pin: Pin,
    log: LogFile,
    frames: FrameMap,
    /// Where `frames` ends.
    end: Position,
    commit: u32,
    encoding: PageEncoding,
}

impl Snapshot {
    /// Passes on every page but the lock page, in ascending order.
    pub(crate) fn pages(&self, sink: &mut dyn FnMut(Pgno, &[u8]) -> Result<()>) -> Result<()> {
        let mut image = self.image();
        for pgno in pages_of(self.commit, self.page_size()) {
            sink(pgno, image.read(pgno)?)?;
        }
        Ok(())
    }

    fn image(&self) -> Image<'_> {
        Image::new(self.pin.connection(), &self.log, &self.end, &self.frames)
    }

    pub(crate) fn page_size(&self) -> PageSize {
        self.end.header.page_size
    }

    /// Size of the database, in pages.
    pub(crate) fn commit(&self) -> u32 {
        self.commit
    }

    /// Encodes the whole database as one LTX file, in pieces.
    pub(crate) fn write(
        &self,
        timestamp_ms: i64,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let range = TxidRange::new(Txid::FIRST, self.txid)
            .ok_or_else(|| Error::internal("a snapshot ends before it starts"))?;
        let page_size = self.page_size();
        let wanted: Vec<Pgno> = pages_of(self.commit, page_size).collect();
        let wal = last_frame_span(&self.end);
        let header = Header::new(page_size, self.commit, range, timestamp_ms, wal);
        encode(
            &mut self.image(),
            header,
            self.encoding,
            &wanted,
            &mut Vec::new(),
            &mut Pieces(sink),
        )
    }
}

/// Passes on the bytes alone.
struct Pieces<'a>(&'a mut dyn FnMut(&[u8]) -> Result<()>);

impl Sink for Pieces<'_> {
    fn page(&mut self, _: Pgno, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        (self.0)(bytes)
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
