use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::policy::{Component, PolicySource};
use serde_json::json;

use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Check a component and show what it is
    Inspect {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The component (default: the built-in one)
        file: Option<PathBuf>,
    },
}

impl Policy {
    pub(crate) fn run(self, _globals: &Globals) -> Result<()> {
        match self.action {
            Action::Inspect { json, file } => inspect(file, json),
        }
    }
}

fn inspect(file: Option<PathBuf>, as_json: bool) -> Result<()> {
    let source = file.map_or(PolicySource::Embedded, PolicySource::File);
    let component = Component::load(&source)?;
    let mut out = stdout().lock();
    if as_json {
        let value = json!({
            "name": component.name(),
            "version": component.version(),
            "summary": component.summary(),
            "sha256": component.digest(),
            "size": component.size(),
            "imports": component.imports(),
            "exports": component.exports(),
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    writeln!(out, "name     {}", component.name())?;
    writeln!(out, "version  {}", component.version())?;
    writeln!(out, "summary  {}", component.summary())?;
    writeln!(out, "sha256   {}", component.digest())?;
    writeln!(out, "size     {} bytes", component.size())?;
    writeln!(out, "imports  {}", listed(component.imports()))?;
    writeln!(out, "exports  {}", listed(component.exports()))?;
    Ok(())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
