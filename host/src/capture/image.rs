//! The database as it was at one place in the log.

use rusqlite::Connection;

use lockkeeper_ltx::{PageSize, Pgno};

use super::connection;
use super::frames::FrameReader;
use super::log::{FrameMap, LogFile, Position};
use crate::Result;

/// Reads pages as they were when `frames` was made: from the log where it has them, else from the
/// database file.
///
/// The connection holds a read mark no newer than the end of `frames`, so no checkpoint copies
/// anything newer into the database file meanwhile, and nobody restarts the log.
pub(super) struct Image<'a> {
    pin: &'a Connection,
    frames: &'a FrameMap,
    log: FrameReader<'a>,
    page_size: PageSize,
    /// The last page that came from the database file.
    page: Vec<u8>,
}

impl<'a> Image<'a> {
    /// The database as it was at `end`, where `frames` ends.
    pub(super) fn new(
        pin: &'a Connection,
        log: &'a LogFile,
        end: &Position,
        frames: &'a FrameMap,
    ) -> Self {
        let page_size = end.header.page_size;
        Self {
            pin,
            frames,
            log: FrameReader::new(log, end.header, end.frames()),
            page_size,
            page: vec![0; page_size.bytes()],
        }
    }

    pub(super) fn read(&mut self, pgno: Pgno) -> Result<&[u8]> {
        if let Some(&frame) = self.frames.get(&pgno) {
            return self.log.page(frame, pgno);
        }
        let offset = pgno.offset(self.page_size);
        connection::read_database(self.pin, offset, &mut self.page)?;
        Ok(&self.page)
    }
}
