//! A lone commit: how long until its object is in the replica.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Figures, Size, bulk};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::spread::Spread;
use crate::workload::Application;

const COMMITS: u32 = 20;
/// Long enough that nothing is left of what the last commit led to, and of different length each
/// time, so that it cannot keep step with a timer of the program.
const QUIET: Duration = Duration::from_millis(1_500);
const QUIET_STEP: Duration = Duration::from_millis(137);

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let mut application = Application::open(&place.database(0))?;
    application.commit()?;
    let mut running = Running::start(&mut binary.replicate(&place.config(1)?))?;
    running.wait_until("its first object", || place.objects(0) > 0)?;
    bulk::settle(&mut running, place)?;
    let mut waits = Vec::new();
    for n in 0..size.of(COMMITS) {
        sleep(QUIET + QUIET_STEP * (n % 7));
        let before = place.objects(0);
        application.commit()?;
        let committed = Instant::now();
        running.wait_until("the object of a commit", || place.objects(0) > before)?;
        waits.push(committed.elapsed().as_secs_f64() * 1000.0);
    }
    running.stop()?;
    let spread = Spread::of(&waits).context("nothing was committed")?;
    Ok(vec![(Quantity::Latency, spread.median)])
}
