//! The database as it was at one place in the log.

use rusqlite::Connection;

use lockkeeper_ltx::{PageSize, Pgno};

use super::connection;
use super::log::{FrameMap, LogFile};
use crate::Result;

/// Reads pages as they were when `frames` was made: from the log where it has them, else from the
/// database file.
///
/// The connection holds a read mark no newer than the end of `frames`, so no checkpoint copies
/// anything newer into the database file meanwhile, and nobody restarts the log.
pub(super) struct Image<'a> {
    pub(super) pin: &'a Connection,
    pub(super) log: &'a LogFile,
    pub(super) frames: &'a FrameMap,
    pub(super) page_size: PageSize,
}

impl Image<'_> {
    pub(super) fn read(&self, pgno: Pgno, page: &mut [u8]) -> Result<()> {
        match self.frames.get(&pgno) {
            Some(&frame) => self.log.read_page(frame, self.page_size, page),
            None => connection::read_database(self.pin, pgno.offset(self.page_size), page),
        }
    }
}
