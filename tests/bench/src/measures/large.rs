//! A large database: first sync, and restore.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Figures, Size};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::workload::Application;

/// Each fills a page of 4 KiB: 1 GB.
const ROWS: u32 = 244_000;

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let (database, restored) = (place.database(0), place.path("restored.db"));
    Application::open(&database)?.fill(size.of(ROWS))?;
    File::open(&database)?.sync_all()?;
    let config = place.config(1)?;
    let started = Instant::now();
    let first = Running::start(&mut binary.replicate_once(&config))?.finish(started)?;
    // What is not needed any more leaves room on the disk.
    fs::remove_dir_all(place.path(".0.db-litestream"))?;
    fs::remove_file(&database)?;
    let started = Instant::now();
    let mut command = binary.restore(&place.replica(0), &restored);
    let restore = Running::start(&mut command)?.finish(started)?;
    let copy = copy(&restored, &place.path("copied.db"))?;
    let restore_s = restore.wall.as_secs_f64();
    Ok(vec![
        (Quantity::FirstSync, first.wall.as_secs_f64()),
        (Quantity::LargeRestore, restore_s),
        (
            Quantity::LargeRestoreOverCopy,
            restore_s / copy.as_secs_f64(),
        ),
        (
            Quantity::LargeRestoreMemory,
            restore.memory as f64 / f64::from(1 << 20),
        ),
    ])
}

/// What writing the same bytes costs at least.
fn copy(from: &Path, to: &Path) -> Result<Duration> {
    let started = Instant::now();
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(started.elapsed())
}
