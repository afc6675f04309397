//! Copying the log into the database without losing a commit.

use std::time::{Duration, Instant};

use super::connection::{self, CheckpointMode};
use super::{Capture, Sealed};
use crate::Result;

/// The most frames that are sealed and copied while other writers are kept out: a megabyte of pages
/// of 4 KiB, some milliseconds.
pub(super) const BARRIER_FRAMES_MAX: u32 = 256;
/// How often the rest is copied while everybody writes on, until it is as little as that.
const APPROACHES_MAX: u32 = 8;

/// How close a copy came to the end of the log while everybody wrote on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Approach {
    /// Little is left.
    Near,
    /// More was written all the time than little.
    Outrun,
    /// A reader keeps the rest from being copied.
    Held,
}

/// What a checkpoint did.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointReport {
    /// Files sealed on the way.
    pub(crate) sealed: Vec<Sealed>,
    /// Whether every frame was copied, so that the next commit restarts the log.
    pub(crate) complete: bool,
    /// How long other writers were kept out at a time, at most.
    pub(crate) write_lock_held: Duration,
    /// Frames that were left when other writers were kept out.
    #[cfg(test)]
    pub(super) frames_behind_barrier: u32,
}

impl Capture {
    /// Copies the log into the database, so that it can be restarted, without losing a commit:
    /// everything is captured while other writers are kept out, then copied.
    ///
    /// Others are kept out for the last [`BARRIER_FRAMES_MAX`] frames only. While a reader holds
    /// the log, somebody writes for longer than the busy timeout, or more is written all the time
    /// than can be copied, what can be copied is, and the report is not `complete`. Only a
    /// checkpoint that is to `truncate` the log, which is overlong then, does not mind the last.
    pub(crate) fn checkpoint(&mut self, truncate: bool) -> Result<CheckpointReport> {
        let mut report = CheckpointReport::default();
        let Some(since) = self.keep_others_out(truncate, &mut report)? else {
            self.keep_hashes();
            return Ok(report);
        };
        let result = self.checkpoint_behind_barrier(&mut report);
        let released = self.end_barrier();
        report.write_lock_held = report.write_lock_held.max(since.elapsed());
        result?;
        released?;
        if truncate && report.complete {
            // Readers may hold it off; the log is then emptied another time.
            let since = Instant::now();
            connection::checkpoint(&self.control, CheckpointMode::Truncate)?;
            report.write_lock_held = report.write_lock_held.max(since.elapsed());
        }
        self.keep_hashes();
        match self.repin() {
            // The next seal takes the pin; if the log is restarted more than once until then, the
            // count of transactions tells.
            Err(error) if error.is_busy() => Ok(report),
            pinned => {
                report.write_lock_held = report.write_lock_held.max(pinned?);
                Ok(report)
            }
        }
    }

    /// Takes the write lock when little is left to do behind it; says since when it is held.
    fn keep_others_out(
        &mut self,
        truncate: bool,
        report: &mut CheckpointReport,
    ) -> Result<Option<Instant>> {
        for _ in 0..APPROACHES_MAX {
            let approach = self.approach(report)?;
            let is_worth_it =
                approach == Approach::Near || approach == Approach::Outrun && truncate;
            if !is_worth_it || !self.begin_barrier()? {
                return Ok(None);
            }
            let since = Instant::now();
            // Whoever had the lock before may have written much.
            if truncate || self.wal_pages()? <= BARRIER_FRAMES_MAX {
                return Ok(Some(since));
            }
            self.end_barrier()?;
            report.write_lock_held = report.write_lock_held.max(since.elapsed());
        }
        Ok(None)
    }

    /// Seals and copies while everybody writes on, until little is left.
    fn approach(&mut self, report: &mut CheckpointReport) -> Result<Approach> {
        let mut copied = None;
        for _ in 0..APPROACHES_MAX {
            self.seal_all(report)?;
            // A newer pin lets the copy come close to the end of the log.
            report.write_lock_held = report.write_lock_held.max(self.repin()?);
            connection::checkpoint(&self.control, CheckpointMode::Passive)?;
            let state = connection::log_state(&self.control)?;
            if state.frames.saturating_sub(state.backfilled) <= BARRIER_FRAMES_MAX {
                return Ok(Approach::Near);
            }
            let now = Some((state.salt1, state.backfilled));
            if now == copied {
                return Ok(Approach::Held);
            }
            copied = now;
        }
        Ok(Approach::Outrun)
    }

    /// Takes the write lock; `false` if others hold it too long.
    pub(super) fn begin_barrier(&self) -> Result<bool> {
        let begun = self
            .writer
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO _litestream_lock (id) VALUES (1)");
        let Err(error) = begun else {
            return Ok(true);
        };
        // A failed INSERT leaves the transaction open.
        let _ = self.writer.execute_batch("ROLLBACK");
        let error = self.failed("take the write lock of", error);
        if error.is_busy() {
            Ok(false)
        } else {
            Err(error)
        }
    }

    pub(super) fn end_barrier(&self) -> Result<()> {
        self.writer
            .execute_batch("ROLLBACK")
            .map_err(|error| self.failed("release the write lock of", error))
    }

    pub(super) fn checkpoint_behind_barrier(
        &mut self,
        report: &mut CheckpointReport,
    ) -> Result<()> {
        #[cfg(test)]
        {
            report.frames_behind_barrier = self.wal_pages()?;
        }
        self.seal_all(report)?;
        // From here the write lock alone keeps the log from being restarted.
        self.pin = None;
        report.complete = connection::checkpoint(&self.control, CheckpointMode::Passive)?;
        Ok(())
    }

    fn seal_all(&mut self, report: &mut CheckpointReport) -> Result<()> {
        self.seal_committed(|sealed| report.sealed.push(sealed))
    }
}
