//! The application's own log: on stderr, and in a database of its own. That of the replication goes
//! where its configuration says, by itself.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Result;
use lockkeeper::config::Identities;
use lockkeeper::logs::{LogDatabase, LogSettings};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts it. What is returned writes until it is dropped.
///
/// # Errors
///
/// If the configuration of the log cannot be read. A log that cannot be written is not worth an
/// application that does not run: that is said, and all.
pub(crate) fn start(dbpath: &Path, identities: &Identities) -> Result<Option<LogDatabase>> {
    let settings = LogSettings::of_application(dbpath, identities)?;
    let opened = LogDatabase::open(settings);
    // What the library says outside of the replication is for the application: what the
    // configuration asks for, what starts and what ends.
    let own = Targets::new()
        .with_target("myapp", LevelFilter::INFO)
        .with_target("lockkeeper", LevelFilter::INFO);
    let stderr = layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_filter(own);
    let database = opened.as_ref().map(LogDatabase::layer).ok();
    tracing_subscriber::registry()
        .with(stderr)
        .with(database)
        .init();
    match opened {
        Ok(log) => Ok(Some(log)),
        Err(error) => {
            tracing::warn!("there is no log in a database: {error}");
            Ok(None)
        }
    }
}
