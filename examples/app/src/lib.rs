//! A guest book on the web whose SQLite database is replicated while it runs.
//!
//! It shows how an application embeds lockkeeper: `app` has the parts that start and stop together,
//! `guestbook` the connection and its settings, `replication` what the pages ask of the
//! library, `observe` the page on how the replication is doing. The rest is an ordinary web server.

mod app;
mod args;
mod guestbook;
mod listen;
mod logging;
mod observe;
mod page;
mod replication;
mod server;
mod settings;
mod web;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::args::Options;

/// Runs the application until a signal ends it. The first argument is the name of the program.
///
/// The exit code is 0 if every committed transaction is in the replica, else 1, with a message on
/// stderr.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::parse_from(arguments) {
        Ok(options) => options,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = error.print();
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(app::run(options));
    // Whoever sends a second signal does not want to wait for anything.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("{error:#}")),
    }
}

/// A closed stderr must not turn an error into a panic.
fn fail(error: &dyn Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "Error: {error}");
    ExitCode::FAILURE
}
