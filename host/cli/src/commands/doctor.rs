use std::io::{Write, stdout};

use anyhow::{Result, bail};
use lockkeeper::store::{Check, Verdict, examine};

use crate::args::Globals;
use crate::runtime;
use crate::source::Source;

#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    source: Source,
    /// The path of a database of the configuration, or the URL of a replica
    target: Option<String>,
}

impl Doctor {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let replica = self.source.find(globals, self.target.as_deref())?.replica;
        let checks = runtime::block_on(async { Ok(examine(replica.store().as_ref()).await) })?;
        let mut out = stdout().lock();
        writeln!(out, "{replica}")?;
        for check in &checks {
            writeln!(out, "{}", line(check))?;
        }
        let is_failed = |check: &&Check| matches!(check.verdict, Verdict::Failed(_));
        match checks.iter().filter(is_failed).count() {
            0 => Ok(()),
            failed => bail!("{failed} of {} checks failed", checks.len()),
        }
    }
}

fn line(check: &Check) -> String {
    let name = check.name;
    match &check.verdict {
        Verdict::Passed => format!("ok       {name}"),
        Verdict::Noted(text) => format!("note     {name}: {text}"),
        Verdict::Failed(error) => format!("FAILED   {name}: {error}"),
        Verdict::Skipped => format!("skipped  {name}"),
        _ => format!("unknown  {name}"),
    }
}
