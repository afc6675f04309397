//! Databases nobody writes to: what keeping an eye on them costs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Figures, Size};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::workload::Application;

const DATABASES: u32 = 1_000;
/// Time for what follows the first objects: snapshots, and threads that end.
const SETTLING: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(20);

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let count = usize::try_from(size.of(DATABASES))?;
    for n in 0..count {
        Application::open(&place.database(n))?.commit()?;
    }
    let mut running = Running::start(&mut binary.replicate(&place.config(count)?))?;
    for n in 0..count {
        running.wait_until("the objects of all", || place.objects(n) > 0)?;
    }
    sleep(SETTLING);
    running.count_from_now()?;
    let started = Instant::now();
    sleep(WATCHED);
    let share = running.cpu()?.as_secs_f64() / started.elapsed().as_secs_f64();
    let memory = running.memory()?;
    running.stop()?;
    Ok(vec![
        (Quantity::IdleMemory, memory as f64 / 1e6),
        (Quantity::IdleCpu, share * 100.0),
    ])
}
