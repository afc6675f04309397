//! Large transactions: what replicating them costs.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Figures, Size};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::workload::{Application, ROW_BYTES};

const TRANSACTIONS: u32 = 40;
/// About 8 MB in each.
const ROWS: u32 = 2_000;
/// A program that wrote no object for this long has sent everything.
const QUIET: Duration = Duration::from_secs(3);

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let mut application = Application::open(&place.database(0))?;
    application.write_bulk(ROWS)?;
    let mut running = Running::start(&mut binary.replicate(&place.config(1)?))?;
    running.wait_until("its first object", || place.objects(0) > 0)?;
    settle(&mut running, place)?;
    running.count_from_now()?;
    let transactions = size.of(TRANSACTIONS);
    for _ in 0..transactions {
        application.write_bulk(ROWS)?;
    }
    settle(&mut running, place)?;
    let cpu = running.cpu()?.as_secs_f64();
    running.stop()?;
    let bytes = f64::from(transactions) * f64::from(ROWS) * ROW_BYTES as f64;
    Ok(vec![(Quantity::BulkCpu, cpu / (bytes / 1e9))])
}

/// Waits until the program has sent what it has to.
pub(super) fn settle(running: &mut Running, place: &Place) -> Result<()> {
    let last = Cell::new((place.objects(0), Instant::now()));
    running.wait_until("everything is sent", || {
        let objects = place.objects(0);
        if objects != last.get().0 {
            last.set((objects, Instant::now()));
        }
        last.get().1.elapsed() > QUIET
    })
}
