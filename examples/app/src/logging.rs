//! Two logs: the application's own on stderr, that of the replication where its configuration says.

use std::io::{self, IsTerminal};

use lockkeeper::{LogFormat, Logging};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts both.
pub(crate) fn start(replication: &Logging) {
    let own = layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_filter(own_targets());
    let (writer, is_terminal) = if replication.stderr {
        (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())
    } else {
        (BoxMakeWriter::new(io::stdout), io::stdout().is_terminal())
    };
    let library = layer().with_writer(writer).with_ansi(is_terminal);
    let library = match replication.format {
        LogFormat::Json => library.json().boxed(),
        LogFormat::Pretty => library.pretty().boxed(),
        _ => library.with_target(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(own)
        .with(library.with_filter(library_targets(replication.level.into())))
        .init();
}

/// What starts and stops is the application's own business.
const DAEMONS: &str = "lockkeeper::daemon";

fn own_targets() -> Targets {
    Targets::new()
        .with_target("myapp", LevelFilter::INFO)
        .with_target(DAEMONS, LevelFilter::INFO)
}

fn library_targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("lockkeeper", level)
        .with_target(DAEMONS, LevelFilter::OFF)
}
