//! The asynchronous runtime of commands, their signals and their log.

use std::future::Future;
use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use lockkeeper::{LogFormat, Logging};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs one future to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let done = runtime.block_on(work);
    // Whoever sends a second signal does not want to wait for anything.
    runtime.shutdown_background();
    done
}

/// The signals that ask a process to end.
pub(crate) struct Termination {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Termination {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// Waits for the next of them; returns its name.
    pub(crate) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Logs what the library reports, as the configuration says.
pub(crate) fn log(logging: &Logging, level: Option<tracing::Level>) {
    let writer = if logging.stderr {
        BoxMakeWriter::new(io::stderr)
    } else {
        BoxMakeWriter::new(io::stdout)
    };
    let colour = if logging.stderr {
        io::stderr().is_terminal()
    } else {
        io::stdout().is_terminal()
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colour)
        .with_target(false)
        .with_file(logging.source)
        .with_line_number(logging.source);
    let layer = match logging.format {
        LogFormat::Json => layer.json().boxed(),
        LogFormat::Pretty => layer.pretty().boxed(),
        _ => layer.boxed(),
    };
    let ours = tracing_subscriber::filter::Targets::new()
        .with_target("lockkeeper", level.unwrap_or(logging.level));
    tracing_subscriber::registry()
        .with(layer.with_filter(ours))
        .init();
}
