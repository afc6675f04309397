use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::args::Globals;
use crate::source::{self, Source};
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    source: Source,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The path of a database of the configuration
    database: String,
}

impl Reset {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let path = Path::new(source::without_scheme(&self.database));
        let database = self.source.configuration(globals)?.database(path)?;
        let files = database.reset(self.dry_run)?;
        if self.json {
            return text::print_json(&json!({
                "database": database.path(),
                "state_directory": database.state_directory(),
                "dry_run": self.dry_run,
                "files": files,
            }));
        }
        let mut out = stdout().lock();
        let what = if self.dry_run {
            "would delete"
        } else {
            "deleted"
        };
        for file in &files {
            writeln!(out, "{what} {}", file.display())?;
        }
        if files.is_empty() {
            writeln!(out, "{} has no local state", database.path().display())?;
        }
        Ok(())
    }
}
