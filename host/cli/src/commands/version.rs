use std::env::consts::{ARCH, OS};
use std::io::{Write, stdout};

use anyhow::Result;
use serde_json::json;

use crate::args::Globals;
use crate::text;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(clap::Args)]
pub(crate) struct Version {
    /// Print the system it was built for as well
    #[arg(long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(crate) fn run(self, _globals: &Globals) -> Result<()> {
        if self.json {
            return text::print_json(&json!({"version": VERSION, "os": OS, "arch": ARCH}));
        }
        let mut out = stdout().lock();
        writeln!(out, "{VERSION}")?;
        if self.verbose {
            writeln!(out, "{OS}/{ARCH}")?;
        }
        Ok(())
    }
}
