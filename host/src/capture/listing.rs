//! What the log holds, as its index says.
//!
//! SQLite lists the page of each frame in memory that all connections share, so that readers need
//! not walk the log; neither do we. Frames that were written over by newer ones are never read.

use std::ops::Range;

use lockkeeper_ltx::WalIndexHeader;
use lockkeeper_ltx::wal::{WalHeader, WalReader};

use super::log::{FrameMap, Position, Run};
use super::{Capture, connection};
use crate::Result;

impl Capture {
    /// What was committed between a place and a state of the same log. `None` if the log was
    /// restarted since.
    pub(super) fn run_until(&self, from: &Position, state: &WalIndexHeader) -> Result<Option<Run>> {
        let frames = from.frames()..u64::from(state.frames);
        let pages = self.listed(&from.header, frames, state.pages)?;
        Ok(pages.map(|pages| Run {
            end: Position {
                header: from.header,
                reader: WalReader::resume(&from.header, state.frames.into(), state.checksum),
                changes: Some(state.changes),
            },
            pages,
            commit: state.pages,
        }))
    }

    /// The newest frame of each page between the start of a log and a place in it, at which the
    /// database has `commit` pages. `None` if the log was restarted since.
    pub(super) fn frames_until(&self, end: &Position, commit: u32) -> Result<Option<FrameMap>> {
        self.listed(&end.header, 0..end.frames(), commit)
    }

    fn listed(
        &self,
        header: &WalHeader,
        frames: Range<u64>,
        commit: u32,
    ) -> Result<Option<FrameMap>> {
        let Some(listed) = connection::listed_pages(&self.control, frames.clone())? else {
            return Ok(None);
        };
        // The list of a committed frame changes only with a restart, which changes the salts first.
        let state = connection::log_state(&self.control)?;
        let is_same_log = (state.salt1, state.salt2) == (header.salt1, header.salt2);
        if !is_same_log || u64::from(state.frames) < frames.end {
            return Ok(None);
        }
        let mut newest = FrameMap::new();
        for (pgno, frame) in listed.into_iter().zip(frames) {
            // Not a page that a shrinking transaction cut off.
            if pgno.get() <= commit {
                newest.insert(pgno, frame);
            }
        }
        Ok(Some(newest))
    }
}
