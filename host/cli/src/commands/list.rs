use std::io::stdout;

use anyhow::{Result, bail};

use super::config;
use crate::args::Globals;
use crate::control::Control;
use crate::runtime;
use crate::source::Source;
use crate::text::{self, Table};

/// Two command lines have a `list`: with a database it is that of the encrypted configuration,
/// else that of Litestream.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    control: Control,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With -dbpath: whose generations to list (default: all)
    scope: Option<String>,
}

impl List {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let asks_process = self.control.socket.is_some() || self.source.is_file() || self.json;
        if !asks_process && (self.scope.is_some() || globals.db_path().is_ok()) {
            return config::list(globals, self.scope.as_deref());
        }
        if let Some(scope) = &self.scope {
            bail!(
                "a running process has no scope {scope:?}: to list generations give -dbpath FILE, \
                 without -socket, -config and -json"
            );
        }
        let client = self.control.client(&self.source, globals, 10)?;
        let list = runtime::block_on(async { Ok(client.list().await?) })?;
        if self.json {
            return text::print_json(&list);
        }
        let mut table = Table::new(&["path", "status", "last_sync"]);
        for database in list.databases {
            table.row(vec![
                database.path.display().to_string(),
                database.status,
                text::or_dash(database.last_sync_at),
            ]);
        }
        table.write(&mut stdout().lock())
    }
}
