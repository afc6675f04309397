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
        text
    }
}

fn row(quantity: Quantity, programs: &BTreeMap<Program, Vec<f64>>) -> String {
    let of = |program| programs.get(&program).map_or(&[][..], Vec::as_slice);
    let (ours, theirs) = (of(Program::Lockkeeper), of(Program::Official));
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    let median = |figures| Spread::of(figures).map_or(f64::NAN, |spread| spread.median);
    let (bar, is_met) = match quantity.bar() {
        Bar::OfOfficial(bar) => (format!("{bar} ×"), median(&ratios) <= bar),
        Bar::Absolute(bar) => (format!("{bar} {}", quantity.unit()), median(ours) <= bar),
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
