//! The parts of the application, which start and stop together.

use anyhow::Result;
use lockkeeper::config::{KeyFile, KeyFileCheck};
use lockkeeper::policy::StoredPolicies;
use lockkeeper::policy::trace::TraceSettings;
use lockkeeper::{Daemons, Lockkeeper, Replication, Signals};

use crate::args::Options;
use crate::guestbook::GuestBook;
use crate::listen::listen;
use crate::logging;
use crate::observe::{Live, Observer};
use crate::replication;
use crate::settings::Settings;
use crate::web::Web;

/// Runs until a signal, then until everything that was committed is durable.
///
/// # Errors
///
/// If the application cannot start, or something was not durable in time.
pub(crate) async fn run(options: Options) -> Result<()> {
    let signals = Signals::listen()?;
    let identities = || KeyFile::read(&options.age_key, KeyFileCheck::Strict);
    // Ends last, so that it has the last words of everything else.
    let _log = logging::start(&options.dbpath, &identities()?)?;
    // First, and open to the end: SQLite tidies its log away when the last connection closes.
    let guest_book = GuestBook::open(&options.dbpath)?;
    let settings = Settings::load(&options.dbpath, &identities()?)?;
    let address = options.addr.as_deref().unwrap_or(&settings.addr);
    // A port that is taken is found out before anything is replicated.
    let listener = listen(address).await?;

    let policies = StoredPolicies::new(&options.dbpath, identities()?);
    let mut builder = Lockkeeper::builder()
        .config_store(&options.dbpath, identities()?)
        .stored_policies(policies);
    if let Some(folder) = &options.trace {
        builder = builder.trace(TraceSettings::new(folder));
    }
    let configuration = builder.read()?;
    if let Err(error) = configuration.replica_of(&options.dbpath) {
        tracing::warn!("what this application writes is not replicated: {error}");
    }
    let replication = Replication::new(builder);
    let asked = replication::Replication::new(replication.handle());
    let live = Live::new(asked.clone());
    let web = Web::new(
        &options,
        identities()?,
        settings,
        listener,
        guest_book.clone(),
        asked,
        live.clone(),
    );
    let timeout = web.shutdown_timeout();
    Daemons::new()
        .with(replication)
        .with(Observer::new(live))
        .with(web)
        .stop_within(timeout)
        .run(signals)
        .await?;
    tracing::info!("stopped: everything that was committed is in the replica");
    // The connection in `guest_book` closes here, after the replication.
    Ok(())
}
