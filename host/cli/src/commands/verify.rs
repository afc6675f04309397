use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::{Result, bail};
use lockkeeper::{Configuration, Lockkeeper};
use serde_json::json;

use crate::args::Globals;
use crate::runtime::{self, Termination};
use crate::source::{self, Source};
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: Source,
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
    /// Replicates while it verifies: what is committed and not sent would be missing.
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let configuration = self.source.configuration(globals)?;
        runtime::log(configuration.logging(), Some(tracing::Level::ERROR));
        let wanted = self.wanted(&configuration)?;
        let deadline = configuration.shutdown_timeout();
        let builder = Lockkeeper::builder()
            .configuration(configuration)
            .log_to(tracing::dispatcher::get_default(Clone::clone))
            .policy(self.source.policy());
        let proofs = runtime::block_on(async {
            let mut termination = Termination::listen()?;
            let keeper = builder.start().await?;
            let proofs = tokio::select! {
                proofs = verify(&keeper, &wanted) => proofs,
                name = termination.recv() => bail!("ended by {name} before everything was verified"),
            };
            keeper.stop(deadline).await?;
            anyhow::Ok(proofs)
        })?;
        self.show(&proofs)?;
        let failed = proofs.iter().filter(|proof| proof.proven.is_err()).count();
        if failed > 0 {
            bail!("{failed} of {} replicas are not proven", proofs.len());
        }
        Ok(())
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
