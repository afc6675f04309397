use std::io::{Write, stdout};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use lockkeeper::control::SyncRequest;
use serde_json::json;

use crate::args::Globals;
use crate::control::Control;
use crate::runtime;
use crate::source::{self, Source};
use crate::text;

/// How many seconds a sync may take unless it is said.
const SECONDS: u64 = 30;

#[derive(clap::Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    control: Control,
    /// Wait until the replica has it, too
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The path of a database that is replicated
    database: String,
}

impl Sync {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let client = self.control.client(&self.source, globals, SECONDS)?;
        let request = SyncRequest {
            path: self.path(globals)?,
            wait: self.wait,
            timeout: i64::try_from(self.control.seconds(SECONDS))?,
        };
        let started = Instant::now();
        let synced = runtime::block_on(async {
            let synced = client.sync(&request).await;
            synced.context("sync failed")
        })?;
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.json {
            let mut value = json!({
                "db_path": synced.path,
                "status": synced.status,
                "txid": synced.txid,
                "duration_ms": took,
            });
            if self.wait {
                value["replica_txid"] = json!(synced.replicated_txid);
            }
            return text::print_json(&value);
        }
        let mut out = stdout().lock();
        writeln!(out, "db_path: {}", synced.path.display())?;
        writeln!(out, "txid: {}", synced.txid)?;
        if self.wait {
            writeln!(out, "replica_txid: {}", synced.replicated_txid)?;
        }
        writeln!(out, "duration_ms: {took}")?;
        Ok(())
    }

    /// The path as the process knows it: it may run elsewhere, and Litestream compares letters.
    fn path(&self, globals: &Globals) -> Result<String> {
        let path = Path::new(source::without_scheme(&self.database));
        let path = if self.source.is_named(globals) {
            let configuration = self.source.configuration(globals)?;
            configuration.database(path)?.path().to_owned()
        } else {
            std::path::absolute(path)?
        };
        let text = path.to_str().map(ToOwned::to_owned);
        text.with_context(|| format!("{} is not text", path.display()))
    }
}
