use std::io::stdout;

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::Globals;
use crate::source::Source;
use crate::text::{self, Table};

#[derive(clap::Args)]
pub(crate) struct Databases {
    #[command(flatten)]
    source: Source,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Databases {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let mut table = Table::new(&["path", "replica"]);
        let mut values = Vec::new();
        for database in self.source.configuration(globals)?.find_databases()? {
            let replica = database.replica()?.to_string();
            let kind = replica.split("://").next().unwrap_or_default();
            let path = database.path().display().to_string();
            values.push(json!({"path": path, "replica": kind, "url": replica}));
            table.row(vec![path, replica]);
        }
        if self.json {
            return text::print_json(&Value::Array(values));
        }
        table.write(&mut stdout().lock())
    }
}
