//! Loses a machine on purpose, and brings its database back from the replica.
//!
//! `cargo run -p quickstart` takes a few seconds, needs no network and leaves nothing behind;
//! `--keep` leaves the files and says where they are. The exit code is 0 if every message that the
//! application acknowledged is there again, byte for byte.

mod application;
mod report;
mod story;

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// This program is the application as well, so that one package is enough to build.
const RUN_APPLICATION: &str = "--run-application";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = env::args_os().collect();
    let told = match arguments.get(1).and_then(|word| word.to_str()) {
        Some(RUN_APPLICATION) => {
            arguments.remove(1);
            return myapp::main(arguments.into_iter());
        }
        None if arguments.len() <= 1 => story::tell(false),
        Some("--keep") => story::tell(true),
        _ => Err(anyhow::anyhow!("usage: quickstart [--keep]")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
