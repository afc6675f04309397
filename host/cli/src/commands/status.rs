mod deciding;

use std::io::stdout;
use std::path::Path;

use anyhow::Result;
use lockkeeper::control::{AlertReport, DatabaseReport, Report};
use lockkeeper::{Configuration, LocalDatabase, LocalStatus};
use serde_json::{Value, json};

use crate::args::Globals;
use crate::control::Control;
use crate::runtime;
use crate::source::{self, Source};
use crate::text::{self, Table};

#[derive(clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    control: Control,
    /// List the last decisions about each database
    #[arg(long)]
    decisions: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The path of a database of the configuration (default: all)
    database: Option<String>,
}

/// What is known of one database.
struct Known {
    database: LocalDatabase,
    local: LocalStatus,
    /// What the process that replicates it says.
    running: Option<DatabaseReport>,
    /// Whether a process answered.
    was_asked: bool,
}

impl Status {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let configuration = self.source.configuration(globals)?;
        let databases = match &self.database {
            Some(path) => vec![configuration.database(Path::new(source::without_scheme(path)))?],
            None => configuration.find_databases()?,
        };
        let report = self.ask(&configuration)?;
        let mut all = Vec::new();
        for database in databases {
            let running = report.as_ref().and_then(|report| {
                let mut found = report.databases.iter();
                found.find(|running| running.path == database.path())
            });
            all.push(Known {
                local: database.status()?,
                running: running.cloned(),
                was_asked: report.is_some(),
                database,
            });
        }
        if self.json {
            return text::print_json(&all.iter().map(Known::json).collect::<Value>());
        }
        let mut table = Table::new(&[
            "database",
            "status",
            "local_txid",
            "wal_size",
            "durable",
            "snapshot",
            "last_sync",
        ]);
        for known in &all {
            table.row(known.row());
        }
        table.write(&mut stdout().lock())?;
        if let Some(report) = &report {
            deciding::show(report)?;
        }
        if self.decisions {
            let mut databases = all.iter().filter_map(|known| known.running.as_ref());
            databases.try_for_each(deciding::list)?;
        }
        for known in &all {
            if let Some(why) = known.trouble() {
                eprintln!("Warning: {}: {why}", known.database.path().display());
            }
        }
        for alert in report.iter().flat_map(|report| &report.alerts) {
            let AlertReport {
                at,
                database,
                severity,
                message,
                ..
            } = alert;
            eprintln!("Alert: {at} {database}: {severity}: {message}");
        }
        for problem in report.iter().flat_map(|report| &report.problems) {
            // What is wrong with a database was said.
            if !all.iter().any(|known| known.is_named_in(problem)) {
                eprintln!("Warning: {problem}");
            }
        }
        Ok(())
    }

    /// What the running process says, if there is one that can be asked.
    fn ask(&self, configuration: &Configuration) -> Result<Option<Report>> {
        let configured = configuration.control_socket();
        let Some(socket) = self.control.socket.as_deref().or(configured) else {
            eprintln!(
                "Note: the configuration has no control socket (socket.enabled), so nobody can be \
                 asked whether replication runs"
            );
            return Ok(None);
        };
        let client = self.control.client_at(socket.to_owned(), 10);
        runtime::block_on(async {
            Ok(match client.status().await {
                Ok(report) => Some(report),
                Err(error) => {
                    eprintln!("Note: {error}");
                    None
                }
            })
        })
    }
}

impl Known {
    /// In one word. It is `ok` only if a process says so.
    fn word(&self) -> &'static str {
        let Some(running) = &self.running else {
            return match (self.local.exists, self.local.txid) {
                (false, _) => "no database",
                (true, _) if self.was_asked => "error",
                (true, None) => "not initialized",
                (true, Some(_)) => "unknown",
            };
        };
        match running.state.as_str() {
            _ if running.lost.is_some() => "error",
            "replicating" => "ok",
            "starting" => "starting",
            "absent" => "no database",
            "stopped" => "stopped",
            _ => "error",
        }
    }

    fn trouble(&self) -> Option<String> {
        let Some(running) = &self.running else {
            return self
                .was_asked
                .then(|| "the process that answers does not replicate it".into());
        };
        if let Some([first, last]) = &running.lost {
            return Some(format!(
                "the replica has lost {first} to {last}; no restore leads past them before the \
                 next snapshot"
            ));
        }
        running.error.clone()
    }

    fn is_named_in(&self, problem: &str) -> bool {
        let path = self.database.path().display().to_string();
        self.trouble().is_some() && problem.starts_with(&format!("{path}: "))
    }

    fn local_txid(&self) -> String {
        text::or_dash(self.local.txid.map(|txid| txid.to_string()))
    }

    fn row(&self) -> Vec<String> {
        let running = self.running.as_ref();
        let field = |of: fn(&DatabaseReport) -> &Option<String>| {
            text::or_dash(running.and_then(|running| of(running).clone()))
        };
        vec![
            self.database.path().display().to_string(),
            self.word().into(),
            self.local_txid(),
            text::bytes(self.local.wal_bytes),
            field(|running| &running.durable),
            field(|running| &running.snapshot),
            field(|running| &running.last_sync_at),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "database": self.database.path().display().to_string(),
            "status": self.word(),
            "local_txid": self.local_txid(),
            "wal_size": text::bytes(self.local.wal_bytes),
            "wal_bytes": self.local.wal_bytes,
            "running": self.running,
        })
    }
}
