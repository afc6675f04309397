//! The asynchronous runtime of commands, their signals and their log.

use std::future::Future;
use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use lockkeeper::{LogFormat, Logging};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

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

/// The log of the process, which another configuration changes.
pub(crate) struct Log {
    form: reload::Handle<Form, Registry>,
    level: reload::Handle<Targets, Registry>,
    /// Instead of the configured one.
    fixed_level: Option<tracing::Level>,
}

/// What makes lines of events.
type Form = Box<dyn Layer<Registry> + Send + Sync>;

impl Log {
    /// Logs what the library reports, as the configuration says; but from `level` on, if it is
    /// given.
    pub(crate) fn start(logging: &Logging, level: Option<tracing::Level>) -> Self {
        let (form, form_now) = reload::Layer::new(form(logging));
        let ours = of_level(level.unwrap_or(logging.level));
        let (ours, level_now) = reload::Layer::new(ours);
        tracing_subscriber::registry()
            .with(form.with_filter(ours))
            .init();
        Self {
            form: form_now,
            level: level_now,
            fixed_level: level,
        }
    }

    /// Logs as another configuration says.
    pub(crate) fn change(&self, logging: &Logging) {
        let level = self.fixed_level.unwrap_or(logging.level);
        // Both fail only when the subscriber is gone, which is there as long as the process.
        let _ = self.form.reload(form(logging));
        let _ = self.level.reload(of_level(level));
    }
}

fn form(logging: &Logging) -> Form {
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
    match logging.format {
        LogFormat::Json => layer.json().boxed(),
        LogFormat::Pretty => layer.pretty().boxed(),
        _ => layer.boxed(),
    }
}

fn of_level(level: tracing::Level) -> Targets {
    Targets::new().with_target("lockkeeper", level)
}
