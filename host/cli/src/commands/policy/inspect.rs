use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::policy::{Component, PolicySource};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Inspect {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The component (default: the built-in one)
    file: Option<PathBuf>,
}

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        inspect(self.file, self.json)
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
            "contract": component.contract(),
            "imports": component.imports(),
            "exports": component.exports(),
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    writeln!(out, "name      {}", component.name())?;
    writeln!(out, "version   {}", component.version())?;
    writeln!(out, "summary   {}", component.summary())?;
    writeln!(out, "contract  {}", component.contract())?;
    writeln!(out, "sha256    {}", component.digest())?;
    writeln!(out, "size      {} bytes", component.size())?;
    writeln!(out, "imports   {}", listed(component.imports()))?;
    writeln!(out, "exports   {}", listed(component.exports()))?;
    Ok(())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
