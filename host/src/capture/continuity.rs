//! Whether the log goes on from where the last sealed file ended.

use lockkeeper_ltx::WalIndexHeader;
use lockkeeper_ltx::wal::{FRAME_HEADER_LEN, WalHeader, frame_offset};

use super::frames::FrameReader;
use super::log::Position;
use super::{Capture, connection};
use crate::Result;
use crate::spool::SealedFile;

/// Whether a log goes on from the last sealed file.
pub(super) enum Continuity {
    /// From this place.
    Proven(Position),
    /// Frames may have been missed.
    Broken,
    /// It lacks frames that were sealed: the database came back older.
    Behind,
    /// The log changed while it was read.
    Unknown,
}

/// Where a sealed file ended, in the log that is there now.
pub(super) enum Found {
    /// The log goes on from here.
    At(Position),
    /// It is the same log, but without what was sealed last: the database came back older.
    Behind,
    /// It is another log, or cannot be compared.
    Unknown,
}

impl Capture {
    /// Whether the log that has this header and state goes on from the last sealed file.
    ///
    /// A log with the same salts only grows, so what follows is all there is. One with other salts
    /// was begun meanwhile: SQLite counts the transactions of all logs, so if as many were
    /// committed as the new log holds, nothing was in between.
    pub(super) fn continued(
        &self,
        header: &WalHeader,
        state: &WalIndexHeader,
    ) -> Result<Continuity> {
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
                Continuity::Behind
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
        Ok(if run.end.changes == Some(state.changes) {
            Continuity::Proven(start)
        } else {
            Continuity::Broken
        })
    }

    /// Finds the place in the log at which a sealed file ended.
    pub(super) fn find(&self, file: &SealedFile, header: &WalHeader) -> Result<Found> {
        let wal = file.header.wal;
        let same_log = (wal.salt1, wal.salt2) == (header.salt1, header.salt2);
        let frame_len = FRAME_HEADER_LEN as u64 + u64::from(header.page_size.get());
        let end = wal.end().saturating_sub(frame_offset(0, header.page_size));
        if file.header.page_size != header.page_size
            || !same_log
            || wal.size == 0
            || !end.is_multiple_of(frame_len)
        {
            return Ok(Found::Unknown);
        }
        let frames = end / frame_len;
        let state = connection::log_state(&self.control)?;
        if u64::from(state.frames) < frames {
            return Ok(Found::Behind);
        }
        let Some(run) = self.log.read(&Position::start_of(*header), frames, 0)? else {
            return Ok(Found::Behind);
        };
        if run.end.frames() != frames || run.commit != file.header.commit {
            return Ok(Found::Behind);
        }
        // A database that was put back to an older copy and went on has the same salts and another
        // history: the last frame tells.
        let Some(last_frame) = frames.checked_sub(1) else {
            return Ok(Found::Unknown);
        };
        let Some((&pgno, _)) = run.pages.iter().find(|(_, frame)| **frame == last_frame) else {
            return Ok(Found::Behind);
        };
        let sealed = self.spool.page(file.name, pgno)?;
        let mut frame_reader = FrameReader::new(&self.log, *header, frames);
        if sealed.as_deref() != Some(frame_reader.page(last_frame, pgno)?) {
            return Ok(Found::Behind);
        }
        let changes = self.changes_at(&run.end, &state)?;
        Ok(Found::At(Position { changes, ..run.end }))
    }

    /// SQLite's count of transactions at a place in the log, counted back from its end.
    fn changes_at(&self, place: &Position, state: &WalIndexHeader) -> Result<Option<u32>> {
        if place.frames() == u64::from(state.frames) {
            return Ok(Some(state.changes));
        }
        let counted = Position {
            changes: Some(0),
            ..place.clone()
        };
        let rest = self.log.read(&counted, state.frames.into(), 0)?;
        let transactions = rest.and_then(|rest| rest.end.changes);
        Ok(transactions.map(|transactions| state.changes.wrapping_sub(transactions)))
    }
}
