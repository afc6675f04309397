//! All figures, for people and for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::machine::Machine;
use crate::measures::Size;
use crate::program::{OFFICIAL_VERSION, Program};
use crate::quantity::{Bar, Quantity};
use crate::spread::Spread;

/// The figures of both programs, round by round.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    date: String,
    command: String,
    machine: Machine,
    rounds: u32,
    quick: bool,
    figures: BTreeMap<Quantity, BTreeMap<Program, Vec<f64>>>,
}

impl Report {
    pub(crate) fn begin(size: Size, rounds: u32) -> Self {
        let only = std::env::args().skip_while(|word| word != "--only").nth(1);
        let mut command = "cargo run --release -p lockkeeper-bench --".to_owned();
        if let Some(only) = only {
            command.push_str(&format!(" --only {only}"));
        }
        command.push_str(&format!(" --rounds {rounds}"));
        if size == Size::Quick {
            command.push_str(" --quick");
        }
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            command,
            machine: Machine::this(),
            rounds,
            quick: size == Size::Quick,
            figures: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, quantity: Quantity, program: Program, figure: f64) {
        let programs = self.figures.entry(quantity).or_default();
        programs.entry(program).or_default().push(figure);
    }

    /// The figures as a page of documentation.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# Performance\n\n\
             lockkeeper against Litestream {OFFICIAL_VERSION}, in turn on the same input, each as a \
             process of its own. The\nwriting application is a third process and not counted. \
             Median of {} rounds, with least and most.\n\n\
             - Command: `{}`\n- Date: {}\n- Machine: {}\n- Profile: release\n",
            self.rounds, self.command, self.date, self.machine
        );
        if self.quick {
            text.push_str("- Inputs of a tenth of the size\n");
        }
        text.push_str(
            "\n| | lockkeeper | Litestream | ratio | bar | |\n|---|---|---|---|---|---|\n",
        );
        for (quantity, programs) in &self.figures {
            text.push_str(&row(*quantity, programs));
        }
        text.push_str(
            "\nA ratio is that of the two programs in the same round. A bar is the most that is \
             good enough: a ratio\nto Litestream where it ends in ×, else a figure of lockkeeper.\n",
        );
        text.push_str(&self.limits());
        text
    }

    /// What keeps the missed bars from being met.
    fn limits(&self) -> String {
        let lines = self.figures.iter().filter_map(|(quantity, programs)| {
            let of = |program| programs.get(&program).map_or(&[][..], Vec::as_slice);
            let (ours, theirs) = (of(Program::Lockkeeper), of(Program::Official));
            let limit = quantity.limit()?;
            let is_met = is_met(*quantity, ours, &ratios(ours, theirs));
            (!is_met).then(|| format!("- {}: {limit}.\n", quantity.name()))
        });
        let lines: String = lines.collect();
        if lines.is_empty() {
            return lines;
        }
        format!("\n## What the missed ones are spent on\n\n{lines}")
    }
}

/// Round by round.
fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(a, b)| a / b).collect()
}

fn is_met(quantity: Quantity, ours: &[f64], ratios: &[f64]) -> bool {
    let median = |figures| Spread::of(figures).map_or(f64::NAN, |spread| spread.median);
    match quantity.bar() {
        Bar::OfOfficial(bar) => median(ratios) <= bar,
        Bar::Absolute(bar) => median(ours) <= bar,
    }
}

fn row(quantity: Quantity, programs: &BTreeMap<Program, Vec<f64>>) -> String {
    let of = |program| programs.get(&program).map_or(&[][..], Vec::as_slice);
    let (ours, theirs) = (of(Program::Lockkeeper), of(Program::Official));
    let ratios = ratios(ours, theirs);
    let is_met = is_met(quantity, ours, &ratios);
    let bar = match quantity.bar() {
        Bar::OfOfficial(bar) => format!("{bar} ×"),
        Bar::Absolute(bar) => format!("{bar} {}", quantity.unit()),
    };
    let show = |figures| Spread::of(figures).map_or("—".to_owned(), |spread| spread.to_string());
    format!(
        "| {}, {} | {} | {} | {} | {bar} | {} |\n",
        quantity.name(),
        quantity.unit(),
        show(ours),
        show(theirs),
        show(&ratios),
        if is_met { "met" } else { "**missed**" }
    )
}
