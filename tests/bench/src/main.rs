//! Measures lockkeeper against the official binary: `cargo run --release -p lockkeeper-bench`.
//!
//! Both are run as a process of their own, in turn, on the same input, with the same
//! `litestream.yml`. The application that writes is this process, so that its work is not counted.

mod machine;
mod measures;
mod place;
mod process;
mod program;
mod quantity;
mod report;
mod spread;
mod workload;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;

use self::measures::{Measure, Size};
use self::place::Place;
use self::program::{Program, Programs};
use self::report::Report;

/// Files that one process may open: a database takes about ten.
const FILES_MAX: u64 = 20_000;

#[derive(Parser)]
struct Arguments {
    /// Only these; everything if it is not given
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// How often each program does each thing, in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Inputs of a tenth of the size: shows that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// The binary of lockkeeper; it is built if none is given
    #[arg(long, value_name = "FILE")]
    lockkeeper: Option<PathBuf>,
    /// The official binary
    #[arg(long, value_name = "FILE")]
    litestream: Option<PathBuf>,
    /// Where to make databases and replicas, on the disk that is to be measured
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Also writes the figures here, as Markdown
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Also writes every single figure here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    allow_files()?;
    let programs = Programs::find(arguments.lockkeeper, arguments.litestream)?;
    let size = if arguments.quick {
        Size::Quick
    } else {
        Size::Full
    };
    let measures = if arguments.only.is_empty() {
        Measure::ALL.to_vec()
    } else {
        arguments.only
    };
    let mut report = Report::begin(size, arguments.rounds);
    for measure in measures {
        for round in 1..=arguments.rounds {
            for program in [Program::Lockkeeper, Program::Official] {
                eprintln!("{measure:?}, round {round}: {program}");
                let place = Place::new(&arguments.folder)?;
                let figures = measure
                    .run(&programs.start(program), &place, size)
                    .with_context(|| format!("{measure:?} of {program}"))?;
                for (quantity, figure) in figures {
                    eprintln!("  {}: {figure:.3} {}", quantity.name(), quantity.unit());
                    report.add(quantity, program, figure);
                }
            }
        }
    }
    let text = report.markdown();
    println!("{text}");
    if let Some(path) = arguments.write {
        fs::write(&path, &text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(&path, json).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Lets both programs open what they need for a thousand databases; children inherit the limit.
fn allow_files() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES_MAX.min(hard)), hard)?;
    Ok(())
}
