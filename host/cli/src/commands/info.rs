use std::io::{Write, stdout};

use anyhow::Result;

use crate::args::Globals;
use crate::control::Control;
use crate::runtime;
use crate::source::Source;
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Info {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    control: Control,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Info {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let client = self.control.client(&self.source, globals, 10)?;
        let info = runtime::block_on(async { Ok(client.info().await?) })?;
        if self.json {
            return text::print_json(&info);
        }
        let mut out = stdout().lock();
        writeln!(out, "version     {}", info.version)?;
        writeln!(out, "pid         {}", info.pid)?;
        writeln!(out, "uptime      {} s", info.uptime_seconds)?;
        writeln!(out, "started at  {}", info.started_at)?;
        writeln!(out, "databases   {}", info.database_count)?;
        Ok(())
    }
}
