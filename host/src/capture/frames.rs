//! Pages out of the log, each held against its checksum.

use lockkeeper_ltx::Pgno;
use lockkeeper_ltx::wal::{
    FRAME_HEADER_LEN, Next, WalHeader, WalReader, frame_offset, stored_checksum,
};

use super::log::LogFile;
use crate::{Error, Result};

/// How much is read ahead where frames are read one after the other.
const AHEAD_BYTES: usize = 256 << 10;

/// Reads frames of one log.
pub(super) struct FrameReader<'a> {
    log: &'a LogFile,
    header: WalHeader,
    /// No frame from here on is read.
    end: u64,
    /// Whole frames of the log, one after the other.
    buffer: Vec<u8>,
    /// The first of them.
    first: u64,
    /// How many frames are read at once.
    ahead: u64,
    /// The frame after the last one, and the checksum before it.
    next: Option<(u64, [u32; 2])>,
}

impl<'a> FrameReader<'a> {
    /// Reads the frames before `end`, which were committed.
    pub(super) fn new(log: &'a LogFile, header: WalHeader, end: u64) -> Self {
        Self {
            log,
            header,
            end,
            buffer: Vec::new(),
            first: 0,
            ahead: 1,
            next: None,
        }
    }

    /// The page in frame `index`, which the index of the log says is `pgno`.
    pub(super) fn page(&mut self, index: u64, pgno: Pgno) -> Result<&[u8]> {
        let before = self.checksum_before(index)?;
        let at = self.hold(index)?;
        let mut input = self.buffer.get(at..).unwrap_or_default();
        let mut reader = WalReader::resume(&self.header, index, before);
        match reader.next(&mut input) {
            Next::Frame(frame) if frame.pgno == pgno => {
                self.next = Some((index.saturating_add(1), reader.checksum()));
                Ok(frame.page)
            }
            _ => Err(Error::unavailable(format!(
                "{} does not hold page {pgno} in frame {index} as its index promises; it is read \
                 again",
                self.log.path().display()
            ))),
        }
    }

    fn frame_len(&self) -> usize {
        self.header
            .page_size
            .bytes()
            .saturating_add(FRAME_HEADER_LEN)
    }

    /// Reads a frame unless it is there; returns where it begins in the buffer.
    fn hold(&mut self, index: u64) -> Result<usize> {
        let frame_len = self.frame_len();
        let held = (self.buffer.len() / frame_len) as u64;
        if let Some(at) = index.checked_sub(self.first)
            && at < held
        {
            return Ok(usize::try_from(at).unwrap_or(0).saturating_mul(frame_len));
        }
        let goes_on = held > 0 && index == self.first.saturating_add(held);
        let most = (AHEAD_BYTES / frame_len).max(1) as u64;
        self.ahead = if goes_on {
            self.ahead.saturating_mul(2).min(most)
        } else {
            1
        };
        let count = self.ahead.min(self.end.saturating_sub(index)).max(1);
        let len = usize::try_from(count).map_or(frame_len, |count| count * frame_len);
        // What was held is gone, whether this works or not.
        self.buffer.clear();
        self.buffer.resize(len, 0);
        self.first = index;
        let offset = frame_offset(index, self.header.page_size);
        if let Err(error) = self.log.read_at(&mut self.buffer, offset) {
            self.buffer.clear();
            return Err(error);
        }
        Ok(0)
    }

    /// The checksum of the log up to a frame.
    fn checksum_before(&self, index: u64) -> Result<[u32; 2]> {
        if let Some((next, checksum)) = self.next
            && next == index
        {
            return Ok(checksum);
        }
        let Some(before) = index.checked_sub(1) else {
            return Ok(self.header.checksum);
        };
        let mut header = [0; FRAME_HEADER_LEN];
        let offset = frame_offset(before, self.header.page_size);
        self.log.read_at(&mut header, offset)?;
        Ok(stored_checksum(&header))
    }
}
