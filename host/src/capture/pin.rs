//! Holding the log: a read transaction whose mark keeps it from being restarted.

use std::time::{Duration, Instant};

use lockkeeper_ltx::WalIndexHeader;
use rusqlite::Connection;

use super::CaptureOptions;
use super::connection;
use crate::{Error, Result};

/// How often taking a pin is tried while somebody else's checkpoints undo it.
const TRIES: u32 = 100;

/// An open read transaction.
pub(super) struct Pin {
    connection: Connection,
    /// How long other writers were kept out for it.
    pub(super) write_lock_held: Duration,
}

impl Pin {
    /// Takes a read mark at the end of the log and proves that it holds the log.
    ///
    /// A reader of a log that is fully copied into the database gets mark 0, which holds nothing:
    /// the next writer restarts the log under it. So a frame that is not yet copied must exist
    /// before the mark is taken, and must still not be copied after.
    pub(super) fn take(
        options: &CaptureOptions,
        control: &Connection,
        writer: &Connection,
    ) -> Result<Self> {
        let path = &options.database;
        let pin = connection::open(path, options.busy_timeout)?;
        let failed = |error: rusqlite::Error| {
            Error::unavailable(format!("cannot hold the log of {}", path.display()))
                .with_source(error)
        };
        let mut write_lock_held = Duration::ZERO;
        for _ in 0..TRIES {
            let before = connection::log_state(control)?;
            if before.backfilled == before.frames {
                write_lock_held = write_lock_held.max(bump(writer).map_err(failed)?);
                continue;
            }
            pin.execute_batch("BEGIN").map_err(failed)?;
            pin.query_row("SELECT COUNT(*) FROM _litestream_seq", [], |_| Ok(()))
                .map_err(failed)?;
            let after = connection::log_state(control)?;
            if holds(&before, &after) {
                return Ok(Self {
                    connection: pin,
                    write_lock_held,
                });
            }
            pin.execute_batch("ROLLBACK").map_err(failed)?;
        }
        Err(Error::unavailable(format!(
            "cannot hold the log of {}: other checkpoints restart it all the time",
            path.display()
        )))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Whether a mark taken between the two states is a real one: some frame that was there before it
/// is not copied after it, so not everything was copied when it was taken.
fn holds(before: &WalIndexHeader, after: &WalIndexHeader) -> bool {
    (before.salt1, before.salt2) == (after.salt1, after.salt2)
        && after.frames >= before.frames
        && after.backfilled < before.frames
}

/// Commits one small change of our own, which leaves a frame in the log. Returns how long other
/// writers were kept out.
pub(super) fn bump(writer: &Connection) -> rusqlite::Result<Duration> {
    writer.execute_batch("BEGIN IMMEDIATE")?;
    let since = Instant::now();
    let changed = writer.execute_batch(
        "INSERT INTO _litestream_seq (id, seq) VALUES (1, 1)
         ON CONFLICT (id) DO UPDATE SET seq = seq + 1;
         COMMIT",
    );
    if changed.is_err() {
        // What failed is told; the lock must not stay.
        let _ = writer.execute_batch("ROLLBACK");
    }
    changed.map(|()| since.elapsed())
}
