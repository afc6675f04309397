use std::io::stdout;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use lockkeeper::policy::decision::Facts;
use lockkeeper::policy::{Component, PolicySource, Trial, vectors};
use serde_json::{Value, json};

use super::trial;
use crate::text::{self, Table};

/// How often each question is asked.
const ROUNDS: usize = 200;

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The component (default: the built-in one)
    file: Option<PathBuf>,
}

/// What one question costs.
struct Row {
    name: &'static str,
    decision: &'static str,
    /// Sorted.
    times: Vec<Duration>,
    fuel: u64,
    memory_bytes: usize,
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        let source = self
            .file
            .clone()
            .map_or(PolicySource::Embedded, PolicySource::File);
        let begin = Instant::now();
        Component::load(&source)?;
        let compile = begin.elapsed();
        let component = trial::load(self.file.as_ref())?;
        let rows = component.on_trial(|trial| {
            let all = vectors::all().into_iter();
            all.map(|(name, facts)| measure(trial, name, &facts))
                .collect::<Result<Vec<Row>>>()
        })??;
        if self.json {
            let rows: Value = rows.iter().map(Row::json).collect();
            return text::print_json(&json!({"compile_us": micros(compile), "decisions": rows}));
        }
        text::say(format_args!("compiled in {} ms", compile.as_millis()))?;
        let mut table = Table::new(&["question", "p50 µs", "p99 µs", "fuel", "memory"]);
        for row in &rows {
            table.row(vec![
                row.name.into(),
                micros(row.at(50)).to_string(),
                micros(row.at(99)).to_string(),
                row.fuel.to_string(),
                text::bytes(row.memory_bytes as u64),
            ]);
        }
        table.write(&mut stdout().lock())
    }
}

impl Row {
    /// The time that so many of a hundred do not exceed.
    fn at(&self, percent: usize) -> Duration {
        let index = self.times.len().saturating_sub(1) * percent / 100;
        self.times.get(index).copied().unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "question": self.name,
            "decision": self.decision,
            "p50_us": micros(self.at(50)),
            "p99_us": micros(self.at(99)),
            "fuel": self.fuel,
            "memory_bytes": self.memory_bytes,
        })
    }
}

fn measure(trial: &Trial<'_>, name: &'static str, facts: &Facts) -> Result<Row> {
    let (_, cost) = trial.propose(facts)?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        trial.propose(facts)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(Row {
        name,
        decision: facts.name(),
        times,
        fuel: cost.fuel,
        memory_bytes: cost.memory_bytes,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
