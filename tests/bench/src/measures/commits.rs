//! Small commits in quick succession: what replicating them costs.

use anyhow::Result;

use super::{Figures, Size, bulk};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::workload::Application;

const COMMITS: u32 = 20_000;
const COMMITS_PER_SECOND: u32 = 2_000;

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let mut application = Application::open(&place.database(0))?;
    application.commit()?;
    let mut running = Running::start(&mut binary.replicate(&place.config(1)?))?;
    running.wait_until("its first object", || place.objects(0) > 0)?;
    bulk::settle(&mut running, place)?;
    running.count_from_now()?;
    application.commit_steadily(size.of(COMMITS), COMMITS_PER_SECOND)?;
    bulk::settle(&mut running, place)?;
    let cpu = running.cpu()?.as_secs_f64();
    running.stop()?;
    Ok(vec![(Quantity::CommitsCpu, cpu)])
}
