use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use lockkeeper::policy::simulation::recorded::Recorded;
use lockkeeper::policy::trace::{Answer, Record, TraceReader, hash};
use lockkeeper::policy::{Component, Trial};

use super::report::{self, PriceArgs};
use super::trial::{self, Situation};
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// The trace: a folder, or one segment of it
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// The component that answers
    #[arg(long, value_name = "FILE")]
    component: PathBuf,
    /// The component it is compared with (default: the built-in one)
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Only the decisions about this database (default: the one with the most)
    #[arg(long, value_name = "FILE")]
    database: Option<String>,
    #[command(flatten)]
    prices: PriceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the answers of a component compare with what is recorded.
#[derive(Default, serde::Serialize)]
struct Compared {
    decisions: u64,
    /// Recorded answers of this very component, and how many of them came again.
    own: u64,
    reproduced: u64,
    /// Answers that differ from the recorded ones, by the kind of decision.
    differed: BTreeMap<&'static str, u64>,
    failed: u64,
}

impl Replay {
    pub(super) fn run(self) -> Result<()> {
        let component = trial::load(Some(&self.component))?;
        let against = trial::load(self.against.as_ref())?;
        let database = match &self.database {
            Some(database) => database.clone(),
            None => self.busiest()?,
        };
        let is_ours = |record: &Record| record.database == database;
        let records = TraceReader::open(&self.trace)?.filter(is_ours);
        let compared = component.on_trial(|trial| compare(&component, trial, records))?;
        if compared.decisions == 0 {
            bail!("the trace has no decision about {database}");
        }
        let mut recorded = Recorded::default();
        for record in TraceReader::open(&self.trace)?.filter(is_ours) {
            recorded.add(&record.facts);
        }
        let situation = Situation {
            settings: recorded.settings().clone(),
            commits: recorded.commits(),
            outages: recorded.outages(),
            end_ms: recorded.end_ms(),
        };
        if self.json {
            text::print_json(&compared)?;
        } else {
            show(&database, &compared)?;
        }
        let reports = [
            (&against, situation.with(&against)?),
            (&component, situation.with(&component)?),
        ];
        report::print(&reports, &self.prices.prices(), self.json)?;
        if compared.reproduced < compared.own {
            bail!("the component does not decide again as it did: the trace is of another host");
        }
        Ok(())
    }

    fn busiest(&self) -> Result<String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for record in TraceReader::open(&self.trace)? {
            *counts.entry(record.database).or_default() += 1;
        }
        match counts.into_iter().max_by_key(|(_, count)| *count) {
            Some((database, _)) => Ok(database),
            None => bail!("the trace {} has no decision yet", self.trace.display()),
        }
    }
}

fn compare(
    component: &Component,
    trial: &Trial<'_>,
    records: impl Iterator<Item = Record>,
) -> Compared {
    let mut compared = Compared::default();
    for record in records {
        compared.decisions += 1;
        let found = trial.propose(&record.facts).ok();
        let found = found.map(|(proposal, _)| hash(&proposal));
        compared.failed += u64::from(found.is_none());
        let Answer::Proposed { hash: expected, .. } = &record.answer else {
            continue;
        };
        let is_same = found.as_ref() == Some(expected);
        if record.policy == component.digest() {
            compared.own += 1;
            compared.reproduced += u64::from(is_same);
        }
        if !is_same {
            *compared.differed.entry(record.facts.name()).or_default() += 1;
        }
    }
    compared
}

fn show(database: &str, compared: &Compared) -> Result<()> {
    text::say(format_args!(
        "{} decisions about {database}",
        compared.decisions
    ))?;
    if compared.own > 0 {
        text::say(format_args!(
            "{} of {} decisions of this component came again",
            compared.reproduced, compared.own
        ))?;
    }
    for (decision, count) in &compared.differed {
        text::say(format_args!("{count} times another answer to {decision}"))?;
    }
    if compared.failed > 0 {
        text::say(format_args!("{} times no answer", compared.failed))?;
    }
    text::say(format_args!(""))
}
