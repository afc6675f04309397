use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use lockkeeper::policy::trace::TraceSettings;
use lockkeeper::{Builder, Daemons, DatabaseState, Lockkeeper, PageEncoding, Replication, Signals};

use crate::args::Globals;
use crate::runtime::{self, Log, Termination};
use crate::source::Source;

/// How long `-once` waits for a database that cannot be opened, or a replica that does not answer.
const ONCE_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
pub(crate) struct Replicate {
    #[command(flatten)]
    source: Source,
    /// Send what is committed now, then end
    #[arg(long)]
    once: bool,
    /// With -once: take a snapshot
    #[arg(long, requires = "once")]
    force_snapshot: bool,
    /// With -once: delete what retention does not keep
    #[arg(long, requires = "once")]
    enforce_retention: bool,
    /// Restore databases that do not exist before replication starts
    #[arg(long)]
    restore_if_db_not_exists: bool,
    /// Write files that Litestream before 0.5.16 can read
    #[arg(long)]
    compat: bool,
    /// Record what is decided in this folder, for `policy replay`
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
    /// trace, debug, info, warn or error; instead of the configured level
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<tracing::Level>,
}

impl Replicate {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let configuration = self.source.configuration(globals)?;
        let log = Log::start(configuration.logging(), self.log_level);
        let timeout = configuration.shutdown_timeout();
        let encoding = if self.compat {
            PageEncoding::Frame
        } else {
            PageEncoding::Block
        };
        let mut builder = self
            .source
            .builder(globals)?
            .log_to(tracing::dispatcher::get_default(Clone::clone))
            .on_logging(move |logging| log.change(logging))
            .restore_if_missing(self.restore_if_db_not_exists)
            .page_encoding(encoding);
        if let Some(stored) = self.source.stored_policies(globals)? {
            builder = builder.stored_policies(stored);
        }
        if let Some(folder) = &self.trace {
            builder = builder.trace(TraceSettings::new(folder));
        }
        runtime::block_on(async {
            if self.once {
                return self.run_once(builder, timeout).await;
            }
            let replication = Replication::new(builder);
            let handle = replication.handle();
            let timeout = move || handle.get().map_or(timeout, |it| it.shutdown_timeout());
            let daemons = Daemons::new().with(replication).stop_within(timeout);
            Ok(daemons.run(Signals::listen()?).await?)
        })
    }

    async fn run_once(&self, builder: Builder, timeout: Duration) -> Result<()> {
        let mut termination = Termination::listen()?;
        let work = async {
            let keeper = builder.start().await?;
            self.once(&keeper).await?;
            Ok(keeper.stop(timeout).await?)
        };
        tokio::select! {
            done = work => done,
            name = termination.recv() => bail!("ended by {name} before everything was sent"),
        }
    }
}

impl Replicate {
    /// What `-once` and its options ask for.
    async fn once(&self, keeper: &Lockkeeper) -> Result<()> {
        once(keeper).await?;
        for database in keeper.status().databases {
            let path = database.path;
            if self.force_snapshot {
                let txid = keeper.snapshot(&path).await?;
                let txid = txid.map_or_else(|| "none".to_owned(), |txid| txid.to_string());
                tracing::info!(database = %path.display(), %txid, "snapshot");
            }
            if self.enforce_retention {
                let deleted = keeper.enforce_retention(&path).await?;
                tracing::info!(database = %path.display(), deleted, "retention");
            }
        }
        Ok(())
    }
}

/// Sends everything; a database that cannot be captured is an error at once.
async fn once(keeper: &Lockkeeper) -> Result<()> {
    match tokio::time::timeout(ONCE_TIMEOUT, keeper.sync()).await {
        Ok(synced) => Ok(synced?),
        Err(_) => {
            let failing = keeper
                .status()
                .databases
                .into_iter()
                .find_map(|database| match database.state {
                    DatabaseState::ReplicaFailing(why) | DatabaseState::Failing(why) => Some(why),
                    _ => None,
                });
            bail!(
                "not everything was sent within {}: {}",
                humantime::format_duration(ONCE_TIMEOUT),
                failing.unwrap_or_else(|| "the replica is slow".into())
            )
        }
    }
}
