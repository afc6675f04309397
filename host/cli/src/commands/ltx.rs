use std::io::{Write, stdout};

use anyhow::{Context, Result};
use lockkeeper::store::{Level, Replica, ReplicaFile};

use crate::args::Globals;
use crate::runtime;
use crate::source::Source;
use crate::text::{self, Table};

#[derive(clap::Args)]
pub(crate) struct Ltx {
    #[command(flatten)]
    source: Source,
    /// 0 to 8, 9 for snapshots, or all
    #[arg(long, default_value = "0")]
    level: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The path of a database of the configuration, or the URL of a replica
    target: Option<String>,
}

impl Ltx {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let replica = self.source.find(globals, self.target.as_deref())?.replica;
        let files = runtime::block_on(self.list(&replica))?;
        let mut out = stdout().lock();
        if self.json {
            let files: Vec<_> = files.iter().map(text::file_json).collect();
            writeln!(out, "{:#}", serde_json::Value::Array(files))?;
            Ok(())
        } else {
            Table::of_files(&files).write(&mut out)
        }
    }

    async fn list(&self, replica: &Replica) -> Result<Vec<ReplicaFile>> {
        if self.level == "all" {
            return Ok(replica.list_all().await?);
        }
        let level: Option<u8> = self.level.parse().ok();
        let level = level.and_then(Level::new);
        let level =
            level.with_context(|| format!("-level takes 0 to 9 or all, not {:?}", self.level))?;
        Ok(replica.list(level).await?)
    }
}
