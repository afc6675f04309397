use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockkeeper::Txid;
use lockkeeper::restore::{
    FollowOptions, IntegrityCheck, Progress, ProgressFn, RestoreOptions, RestorePlan, Restored,
    Target, check_reaches, expected_txid, follow, has_backup, plan_restore, restore,
};
use lockkeeper::store::Replica;
use serde_json::json;

use crate::args::Globals;
use crate::runtime::{self, Termination};
use crate::source::{Found, Source};
use crate::text::{self, Table};

/// Work that takes longer shows how far it is.
const BAR_AFTER: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Restore {
    #[command(flatten)]
    source: Source,
    /// The database to write (default: where the configuration has it)
    #[arg(short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Restore exactly this transaction: 16 hexadecimal digits
    #[arg(long, value_name = "TXID", conflicts_with = "timestamp")]
    txid: Option<String>,
    /// Restore the state before this time, as 2026-11-25T08:30:00Z
    #[arg(long, value_name = "TIME")]
    timestamp: Option<String>,
    /// Move a database that is in the way aside
    #[arg(long)]
    force: bool,
    /// Restore what there is if the newest files of the replica are missing
    #[arg(long)]
    allow_missing_tail: bool,
    /// Do nothing, and succeed, if the database exists
    #[arg(long)]
    if_db_not_exists: bool,
    /// Do nothing, and succeed, if the replica holds no backup
    #[arg(long)]
    if_replica_exists: bool,
    /// What SQLite checks in the result: none, quick or full
    #[arg(long, value_name = "CHECK", default_value = "none")]
    integrity_check: String,
    /// Show what would be read, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Keep the database up to date with the replica until a signal ends it
    #[arg(short = 'f', conflicts_with_all = ["txid", "timestamp", "dry_run", "force"])]
    follow: bool,
    /// How often to look for more, with -f: for example 500ms or 1m
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    follow_interval: String,
    /// The path of a database of the configuration, or the URL of a replica
    target: Option<String>,
}

impl Restore {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        let target = self.point()?;
        let integrity_check = match self.integrity_check.as_str() {
            "none" => IntegrityCheck::None,
            "quick" => IntegrityCheck::Quick,
            "full" => IntegrityCheck::Full,
            other => bail!("-integrity-check takes none, quick or full, not {other:?}"),
        };
        let Found { replica, database } = self.source.find(globals, self.target.as_deref())?;
        let Some(output) = self.output.clone().or(database) else {
            bail!("say where to write the database: give -o FILE");
        };
        if self.if_db_not_exists && !self.follow && output.symlink_metadata().is_ok() {
            eprintln!("{} already exists: nothing to do", output.display());
            return Ok(());
        }
        let options = RestoreOptions {
            target,
            force: self.force,
            allow_missing_tail: self.allow_missing_tail,
            integrity_check,
            progress: progress_bar(),
            ..RestoreOptions::new(&output)
        };
        runtime::block_on(async {
            if self.if_replica_exists && !has_backup(&replica).await? {
                eprintln!("{replica} holds no backup: nothing to do");
                return Ok(());
            }
            if self.dry_run {
                let expected = expected_txid(&replica, target).await?;
                let plan = plan_restore(&replica, target).await?;
                if !self.allow_missing_tail {
                    check_reaches(&replica, &plan, expected)?;
                }
                return self.show(&replica, &output, &plan, expected);
            }
            if self.follow {
                return self.follow(&replica, &output).await;
            }
            let started = Instant::now();
            let restored = restore(&replica, options).await?;
            self.report(&replica, &output, &restored, started.elapsed())
        })
    }

    fn point(&self) -> Result<Target> {
        match (&self.txid, &self.timestamp) {
            (Some(txid), _) => Ok(Target::Txid(txid.parse().with_context(|| {
                format!("-txid takes 16 hexadecimal digits, not {txid:?}")
            })?)),
            (None, Some(time)) => {
                let time: jiff::Timestamp = time.parse().with_context(|| {
                    format!("-timestamp takes a time as 2026-11-25T08:30:00Z, not {time:?}")
                })?;
                Ok(Target::Before(time.as_millisecond()))
            }
            (None, None) => Ok(Target::Latest),
        }
    }

    async fn follow(&self, replica: &Replica, output: &Path) -> Result<()> {
        let interval = humantime::parse_duration(&self.follow_interval).with_context(|| {
            format!(
                "-follow-interval takes 500ms or 1m, not {:?}",
                self.follow_interval
            )
        })?;
        let mut termination = Termination::listen()?;
        let shown = output.display().to_string();
        let options = FollowOptions {
            interval,
            applied: Some(Arc::new(move |txid| eprintln!("{shown} is at TXID {txid}"))),
            ..FollowOptions::new(output)
        };
        let stop = async {
            termination.recv().await;
        };
        follow(replica, options, stop).await?;
        Ok(())
    }

    fn show(
        &self,
        replica: &Replica,
        output: &Path,
        plan: &RestorePlan,
        expected: Option<Txid>,
    ) -> Result<()> {
        let mut out = stdout().lock();
        if self.json {
            let mut value = json!({
                "source": self.target.as_deref().unwrap_or_default(),
                "target_path": output,
                "replica": replica.to_string(),
                "files": text::plan_json(plan),
                "expected_txid": expected.map(|txid| txid.to_string()),
            });
            if let RestorePlan::Ltx(plan) = plan {
                let first = plan.files().first();
                value["min_txid"] = json!(first.map(|file| file.name.range().min().to_string()));
                value["max_txid"] = json!(plan.txid().to_string());
            }
            writeln!(out, "{value:#}")?;
            return Ok(());
        }
        writeln!(out, "Restore plan:")?;
        writeln!(out, "  replica  {replica}")?;
        writeln!(out, "  target   {}", output.display())?;
        if let RestorePlan::Ltx(plan) = plan {
            writeln!(out, "  to TXID  {}", plan.txid())?;
        }
        writeln!(
            out,
            "  to read  {} files, {} bytes",
            plan.file_count(),
            plan.size()
        )?;
        writeln!(out)?;
        Table::of_plan(plan).write(&mut out)?;
        if let RestorePlan::Ltx(plan) = plan
            && let Some(next) = plan.unreachable()
        {
            eprintln!("Warning: files from {next} on belong to this point but cannot be reached");
        }
        Ok(())
    }

    fn report(
        &self,
        replica: &Replica,
        output: &Path,
        restored: &Restored,
        took: Duration,
    ) -> Result<()> {
        for path in &restored.moved_aside {
            eprintln!("Moved aside: {}", path.display());
        }
        if let Some(next) = restored.unreachable {
            eprintln!(
                "Warning: files from {next} on belong to this point but cannot be reached; the \
                 database ends at {}",
                restored.txid
            );
        }
        if let Some(expected) = restored.expected_txid.filter(|txid| restored.txid < *txid) {
            eprintln!("Warning: {expected} was durable, but the replica has lost it");
        }
        if self.json {
            let value = json!({
                "expected_txid": restored.expected_txid.map(|txid| txid.to_string()),
                "db_path": output,
                "replica": replica.to_string(),
                "txid": restored.txid.to_string(),
                "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "integrity_check": self.integrity_check,
            });
            writeln!(stdout(), "{value:#}")?;
        } else {
            eprintln!(
                "Restored {} to TXID {}: {} bytes from {} files of {replica}",
                output.display(),
                restored.txid,
                restored.size,
                restored.files
            );
        }
        Ok(())
    }
}

/// A bar on the terminal that appears when the work takes long.
fn progress_bar() -> Option<ProgressFn> {
    if !stderr().is_terminal() {
        return None;
    }
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
            .ok()?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style);
    let started = Instant::now();
    Some(Arc::new(move |at: Progress| {
        bar.set_length(at.bytes_total);
        bar.set_position(at.bytes);
        if bar.is_hidden() && started.elapsed() > BAR_AFTER {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if at.files == at.files_total {
            bar.finish_and_clear();
        }
    }))
}
