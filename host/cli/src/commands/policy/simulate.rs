use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use lockkeeper::policy::simulation::Settings;
use lockkeeper::policy::simulation::load::Load;

use super::report::{self, PriceArgs};
use super::trial::{self, Situation};

#[derive(clap::Args)]
pub(crate) struct Simulate {
    /// Where chance begins: the same number gives the same month
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many days
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// How long a commit may wait, in milliseconds, as `sync-interval`
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    sync_interval: u64,
    /// How often the replica is to be proven, in hours, as `validation.interval`; 0 for never
    #[arg(long, value_name = "HOURS", default_value_t = 0)]
    validation_interval: u64,
    #[command(flatten)]
    prices: PriceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The components (default: the built-in one)
    files: Vec<PathBuf>,
}

impl Simulate {
    pub(super) fn run(self) -> Result<()> {
        let load = Load {
            seed: self.seed,
            days: self.days,
        };
        let situation = Situation {
            settings: Settings {
                sync_interval_ms: self.sync_interval,
                validation_interval_ms: self.validation_interval.saturating_mul(3_600_000),
                ..Settings::default()
            },
            commits: load.commits().collect(),
            outages: load.outages(),
            end_ms: load.end_ms(),
        };
        let mut components = vec![trial::load(None)?];
        for file in &self.files {
            components.push(trial::load(Some(file))?);
        }
        let begin = Instant::now();
        let mut reports = Vec::new();
        for component in &components {
            reports.push((component, situation.with(component)?));
        }
        // Not part of what is printed, which is the same each time.
        let took = begin.elapsed().as_secs_f64();
        eprintln!(
            "{} days, with {} policies, took {took:.1} s",
            self.days,
            reports.len()
        );
        report::print(&reports, &self.prices.prices(), self.json)
    }
}
