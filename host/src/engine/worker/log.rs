//! Keeping the log small.

use std::time::{Duration, Instant, SystemTime};

use lockkeeper_core::guard::budget::{self, Class};
use lockkeeper_core::policy::{CheckpointFacts, CheckpointProposal};

use super::{Worker, millis, sealed, unix_ms};
use crate::Result;
use crate::engine::shared::DatabaseShared;
use crate::engine::status::LogHeld;

/// How long a snapshot may hold back a checkpoint that is due.
const SNAPSHOT_HOLD_MAX: Duration = Duration::from_secs(300);
/// How large a log may become, in pages, while a snapshot holds it or a checkpoint cannot empty it,
/// if `truncate-page-n` does not say: half a gigabyte of pages of 4 KiB.
const LOG_PAGES_MAX: u32 = 121_359;

impl Worker {
    /// Keeps the log within its bound while a snapshot is sent.
    pub(super) fn look_at_log(&mut self, shared: &DatabaseShared) -> Result<()> {
        let (pages, bytes) = self.capture.log_size()?;
        let is_running = shared.read(|marks| marks.snapshot_running);
        shared.update(|marks| {
            marks.log_bytes = bytes;
            marks.log_bytes_max = marks.log_bytes_max.max(bytes);
        });
        let Some(hold) = self.hold.take_if(|_| is_running) else {
            self.hold = None;
            return Ok(());
        };
        let due = self.last_checkpoint.elapsed() > self.settings.checkpoint_interval;
        let is_too_long = hold.since.elapsed() > SNAPSHOT_HOLD_MAX && due;
        if pages < self.log_pages_max() && !is_too_long {
            self.hold = Some(hold);
            return Ok(());
        }
        tracing::warn!(
            database = %self.settings.path.display(), log_bytes = bytes,
            "a snapshot is given up so that the log can be emptied; it is made from files of the \
             replica instead"
        );
        shared.update(|marks| marks.snapshot_given_up = true);
        Ok(())
    }

    fn log_pages_max(&self) -> u32 {
        match self.settings.truncate_pages {
            0 => LOG_PAGES_MAX,
            pages => pages,
        }
    }

    /// Alarms if a log that is too large could not be emptied, and ends the alarm.
    fn watch_log(&self, shared: &DatabaseShared) -> Result<()> {
        let (pages, bytes) = self.capture.log_size()?;
        let held = shared.read(|marks| marks.log_held);
        let is_held = pages >= self.log_pages_max() && self.capture.wal_pages()? > 0;
        if is_held && held.is_none() {
            tracing::error!(
                database = %self.settings.path.display(), log_bytes = bytes,
                "the log cannot be emptied and grows: a connection keeps a read transaction open; \
                 end it"
            );
        }
        let since = held.map_or_else(SystemTime::now, |held| held.since);
        shared.update(|marks| marks.log_held = is_held.then_some(LogHeld { since, bytes }));
        Ok(())
    }

    pub(super) fn checkpoint(&mut self, shared: &DatabaseShared) -> Result<()> {
        if !self.written_since_checkpoint {
            return Ok(());
        }
        let facts = CheckpointFacts {
            now_ms: unix_ms(),
            wal_pages: self.capture.wal_pages()?,
            since_last_checkpoint_ms: millis(self.last_checkpoint.elapsed()),
            written_since_last_checkpoint: self.written_since_checkpoint,
            snapshot_running: shared.read(|marks| marks.snapshot_running),
            writer_idle_ms: millis(self.last_written.elapsed()),
            oldest_reader_age_ms: self.held_by_reader.map(|since| millis(since.elapsed())),
            min_checkpoint_pages: self.settings.min_checkpoint_pages,
            truncate_pages: self.settings.truncate_pages,
            checkpoint_interval_ms: millis(self.settings.checkpoint_interval),
            budget_left: shared.spending.left(Class::Upload),
        };
        let decision = self.policy.plan_checkpoint(&facts);
        let cost = budget::of_checkpoint(&facts, decision);
        shared.spending.spend(Class::Upload, cost);
        let truncate = match decision {
            CheckpointProposal::None => return Ok(()),
            CheckpointProposal::Passive => false,
            CheckpointProposal::Truncate => true,
        };
        let report = self.capture.checkpoint(truncate)?;
        report.sealed.iter().for_each(|file| sealed(shared, *file));
        self.last_checkpoint = Instant::now();
        // What could not be copied is still to be: the application may never write again.
        self.written_since_checkpoint = !report.complete;
        let since = self.held_by_reader.unwrap_or(self.last_checkpoint);
        self.held_by_reader = (!report.complete).then_some(since);
        self.again_soon |= !report.complete;
        shared.checkpointed(report.write_lock_held);
        tracing::debug!(
            complete = report.complete,
            held_us = u64::try_from(report.write_lock_held.as_micros()).unwrap_or(u64::MAX),
            "checkpoint"
        );
        self.watch_log(shared)?;
        // Our own small commit after it is sent along, and does not count as the application's.
        self.capture.seal_committed(|file| sealed(shared, file))
    }
}
