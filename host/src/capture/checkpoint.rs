//! Copying the log into the database without losing a commit.

use std::time::{Duration, Instant};

use super::connection::{self, CheckpointMode};
use super::{Capture, Sealed};
use crate::Result;

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

impl Capture {
    /// Copies the log into the database, so that it can be restarted, without losing a commit:
    /// everything is captured while other writers are kept out, then copied.
    ///
    /// While somebody writes for longer than the busy timeout, what can be copied is, and the
    /// report is not `complete`.
    pub(crate) fn checkpoint(&mut self, truncate: bool) -> Result<CheckpointReport> {
        let mut report = CheckpointReport::default();
        self.seal_all(&mut report)?;
        // The bulk is copied first, while everybody writes on: a newer pin lets the copy come
        // close to the end of the log.
        self.repin()?;
        connection::checkpoint(&self.control, CheckpointMode::Passive)?;
        if !self.begin_barrier()? {
            return Ok(report);
        }
        let since = Instant::now();
        let result = self.checkpoint_behind_barrier(&mut report);
        let released = self.end_barrier();
        report.write_lock_held = since.elapsed();
        result?;
        released?;
        if truncate && report.complete {
            // Readers may hold it off; the log is then emptied another time.
            connection::checkpoint(&self.control, CheckpointMode::Truncate)?;
        }
        self.keep_hashes();
        match self.repin() {
            // The next seal takes the pin; if the log is restarted more than once until then, the
            // count of transactions tells.
            Err(error) if error.is_busy() => Ok(report),
            pinned => pinned.map(|()| report),
        }
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
