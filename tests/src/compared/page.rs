//! The page of documentation, `docs/compared.md`.

use super::program::Name;
use super::{Finding, HAZARDS, Hazard};
use crate::litestream::NEWEST;

/// Stands before a figure that differs from run to run.
pub const MEASURED: &str = "≈";
/// Begin lines that tell of one run.
const OF_ONE_RUN: [&str; 3] = ["- Date:", "- Machine:", "- Profile:"];

/// What both programs did in one hazard.
#[derive(Debug)]
pub struct Row {
    /// The hazard.
    pub hazard: &'static Hazard,
    /// What the official program did.
    pub litestream: Finding,
    /// What ours did.
    pub lockkeeper: Finding,
}

impl Row {
    fn line(&self) -> String {
        let holds_with = match (self.litestream.holds, self.lockkeeper.holds) {
            (true, true) => "both",
            (true, false) => "Litestream",
            (false, true) => "lockkeeper",
            (false, false) => "neither",
        };
        format!(
            "| {} | {} | {} | {holds_with} |\n",
            self.hazard.promise, self.litestream.words, self.lockkeeper.words
        )
    }
}

/// The page.
#[must_use]
pub fn write(rows: &[Row]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let mut page = format!(
        "# Compared\n\n\
         Conditions in which a replica can go wrong without anybody noticing, staged for lockkeeper \
         and for\nLitestream {NEWEST}: on real files, with the same `litestream.yml` and the same \
         command lines.\n\n\
         - Command: `cargo build && cargo run -p lockkeeper-tests --bin compared`\n\
         - Date: {date}\n- Machine: {cores} cores, {}\n- Profile: {profile}\n\n\
         Figures after {MEASURED} are measured, and differ from machine to machine. The rest is what \
         happened, and the\ntest `compared` of the command line stages it again.\n\n\
         | What should hold | Litestream {NEWEST} | lockkeeper | Holds with |\n|---|---|---|---|\n",
        std::env::consts::OS
    );
    page.extend(rows.iter().map(Row::line));
    page.push_str(
        "\n## How it is staged\n\n\
         Settings that are not named have their defaults.\n\n",
    );
    for hazard in HAZARDS {
        page.push_str(&format!("- **{}.** {}\n", hazard.promise, hazard.staging));
    }
    page
}

/// A page without what programs did and when.
#[must_use]
pub fn frame(page: &str) -> String {
    let is_row = |line: &str| {
        HAZARDS
            .iter()
            .any(|hazard| line.starts_with(&begin(hazard)))
    };
    let is_of_one_run = |line: &str| OF_ONE_RUN.iter().any(|begin| line.starts_with(begin));
    let lines = page.lines();
    let lines = lines.filter(|line| !is_row(line) && !is_of_one_run(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a page says that a program did, without figures.
#[must_use]
pub fn cell(page: &str, hazard: &Hazard, program: Name) -> Option<String> {
    let begin = begin(hazard);
    let row = page.lines().find_map(|line| line.strip_prefix(&begin))?;
    let column = match program {
        Name::Litestream => 0,
        Name::Lockkeeper => 1,
    };
    row.split(" | ").nth(column).map(without_figures)
}

/// A text in which every measured figure is a `#`.
#[must_use]
pub fn without_figures(text: &str) -> String {
    let mut parts = text.split(MEASURED);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let part = part.trim_start_matches(|c: char| c == ' ' || c == '.' || c.is_ascii_digit());
        plain.push_str("# ");
        plain.push_str(part);
    }
    plain
}

fn begin(hazard: &Hazard) -> String {
    format!("| {} | ", hazard.promise)
}
