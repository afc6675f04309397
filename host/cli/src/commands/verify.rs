use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::{Result, bail};
use lockkeeper::control::{Client, SYNC_SECONDS_MAX, VerifyRequest};
use lockkeeper::{Configuration, Lockkeeper};
use serde_json::json;

use crate::args::Globals;
use crate::control::Control;
use crate::runtime::{self, Log, Termination};
use crate::source::{self, Source};
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    control: Control,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The path of a database of the configuration (default: all)
    database: Option<String>,
}

/// What became of one database.
struct Proof {
    database: String,
    replica: String,
    /// The transaction that was restored and compared, or why that is not so.
    proven: std::result::Result<String, String>,
}

impl Verify {
    /// Asks the process that replicates. If there is none, replicates itself while it verifies:
    /// what is committed and not sent would be missing.
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let configuration = self.source.configuration(globals)?;
        Log::start(configuration.logging(), Some(tracing::Level::ERROR));
        let wanted = self.wanted(&configuration)?;
        let proofs = match self.process(&configuration) {
            Some(client) => runtime::block_on(self.ask(&client, &wanted))?,
            None => self.replicate(configuration, &wanted)?,
        };
        self.show(&proofs)?;
        let failed = proofs.iter().filter(|proof| proof.proven.is_err()).count();
        if failed > 0 {
            bail!("{failed} of {} replicas are not proven", proofs.len());
        }
        Ok(())
    }

    /// The process that replicates: one that is named, or that listens where the configuration has
    /// its socket.
    fn process(&self, configuration: &Configuration) -> Option<Client> {
        if let Some(socket) = &self.control.socket {
            return Some(self.control.client_at(socket.clone(), SYNC_SECONDS_MAX));
        }
        let socket = configuration.control_socket()?;
        let client = self.control.client_at(socket.to_owned(), SYNC_SECONDS_MAX);
        let is_there = runtime::block_on(async { Ok(client.info().await.is_ok()) });
        is_there.is_ok_and(|is_there| is_there).then_some(client)
    }

    async fn ask(&self, client: &Client, wanted: &[(String, String)]) -> Result<Vec<Proof>> {
        let mut proofs = Vec::with_capacity(wanted.len());
        for (database, replica) in wanted {
            let request = VerifyRequest {
                path: database.clone(),
                timeout: i64::try_from(self.control.seconds(SYNC_SECONDS_MAX))?,
            };
            let proven = match client.verify(&request).await {
                Ok(answer) => answer.txid.ok_or(answer.error.unwrap_or_default()),
                Err(error) => Err(error.to_string()),
            };
            proofs.push(Proof {
                database: database.clone(),
                replica: replica.clone(),
                proven,
            });
        }
        Ok(proofs)
    }

    fn replicate(
        &self,
        configuration: Configuration,
        wanted: &[(String, String)],
    ) -> Result<Vec<Proof>> {
        let deadline = configuration.shutdown_timeout();
        let builder = Lockkeeper::builder()
            .configuration(configuration)
            .log_to(tracing::dispatcher::get_default(Clone::clone))
            .policy(self.source.policy());
        runtime::block_on(async {
            let mut termination = Termination::listen()?;
            let keeper = builder.start().await?;
            let proofs = tokio::select! {
                proofs = verify(&keeper, wanted) => proofs,
                name = termination.recv() => bail!("ended by {name} before everything was verified"),
            };
            keeper.stop(deadline).await?;
            Ok(proofs)
        })
    }

    fn wanted(&self, configuration: &Configuration) -> Result<Vec<(String, String)>> {
        let databases = match &self.database {
            Some(path) => vec![configuration.database(Path::new(source::without_scheme(path)))?],
            None => configuration.find_databases()?,
        };
        let names = databases
            .iter()
            .map(|it| Ok((it.path().display().to_string(), it.replica()?.to_string())));
        names.collect()
    }

    fn show(&self, proofs: &[Proof]) -> Result<()> {
        if self.json {
            let all = proofs.iter().map(Proof::json);
            return text::print_json(&all.collect::<serde_json::Value>());
        }
        let mut out = stdout().lock();
        for proof in proofs {
            let Proof {
                database, replica, ..
            } = proof;
            match &proof.proven {
                Ok(txid) => writeln!(out, "{database}: {replica} restores to it, as of {txid}")?,
                Err(why) => writeln!(out, "{database}: NOT PROVEN: {why}")?,
            }
        }
        Ok(())
    }
}

impl Proof {
    fn json(&self) -> serde_json::Value {
        json!({
            "database": self.database,
            "replica": self.replica,
            "status": if self.proven.is_ok() { "verified" } else { "not verified" },
            "txid": self.proven.as_ref().ok(),
            "error": self.proven.as_ref().err(),
        })
    }
}

async fn verify(keeper: &Lockkeeper, wanted: &[(String, String)]) -> Vec<Proof> {
    let mut proofs = Vec::with_capacity(wanted.len());
    for (database, replica) in wanted {
        let proven = keeper.verify(database).await;
        proofs.push(Proof {
            database: database.clone(),
            replica: replica.clone(),
            proven: proven
                .map(|verified| verified.txid.to_string())
                .map_err(|error| error.to_string()),
        });
    }
    proofs
}
