//! The lockkeeper command line: data on stdout, status on stderr, exit code 0 or 1.

#![deny(clippy::print_stdout)]

mod args;
mod commands;
mod control;
mod flatten;
#[cfg(test)]
mod reference;
mod runtime;
mod source;
mod text;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse_from(args::normalise(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.render().to_string();
            report(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return ExitCode::FAILURE;
        }
    };
    let Some(command) = cli.command else {
        let _ = write!(std::io::stderr(), "{}", args::Cli::command().render_help());
        return ExitCode::SUCCESS;
    };
    match command.run(&cli.globals) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the answer has gone, as with `| head`: there is nobody to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A closed stderr must not turn an error into a panic.
fn report(message: &str) {
    let _ = writeln!(std::io::stderr(), "Error: {message}");
}
