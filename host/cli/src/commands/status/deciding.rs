//! Who decides in the process that answers, and what was decided.

use std::io::stdout;

use anyhow::Result;
use lockkeeper::control::{DatabaseReport, Report};

use crate::text::{self, Table};

/// One line, and a warning if the last installation was refused.
pub(super) fn show(report: &Report) -> Result<()> {
    let (deciding, served) = (&report.deciding, &report.policy);
    if let Some(policy) = &deciding.component {
        let digest: String = policy.sha256.chars().take(12).collect();
        text::say(format_args!(
            "policy {} {} ({digest}) since {}: {} decisions, {} without an answer, {} changed by \
             the guard",
            policy.name,
            policy.version,
            deciding.since,
            served.calls,
            served.failures,
            served.clamps
        ))?;
    }
    if served.set_aside {
        eprintln!("Warning: the policy failed several times in a row; the built-in rules decide");
    }
    if let Some(why) = &deciding.alarm {
        eprintln!("Warning: {why}");
    }
    Ok(())
}

/// The last decisions about one database, oldest first.
pub(super) fn list(database: &DatabaseReport) -> Result<()> {
    let mut table = Table::new(&["decision", "times", "last", "by", "outcome"]);
    for note in &database.decisions {
        let by = note.by.as_deref().unwrap_or("built-in rules");
        let clamps = if note.clamps.is_empty() {
            String::new()
        } else {
            format!(" (changed: {})", note.clamps.join(", "))
        };
        table.row(vec![
            note.decision.clone(),
            note.times.to_string(),
            note.at.clone(),
            by.into(),
            format!("{}{clamps}", note.outcome),
        ]);
    }
    text::say(format_args!(
        "\ndecisions about {}",
        database.path.display()
    ))?;
    table.write(&mut stdout().lock())
}
