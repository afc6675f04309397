//! Looking at what was saved.

use std::io::{IsTerminal, Write, stdout};

use anyhow::{Context, Result, bail};
use similar::TextDiff;

use super::open;
use crate::args::Globals;
use crate::flatten;

pub(super) fn get(
    globals: &Globals,
    scope: &str,
    filter: Option<&str>,
    reveal: bool,
) -> Result<()> {
    let mut out = stdout().lock();
    for (path, value) in values(globals, scope, filter, reveal)? {
        writeln!(out, "{path} = {value}")?;
    }
    Ok(())
}

pub(super) fn paths(globals: &Globals, scope: &str, filter: Option<&str>) -> Result<()> {
    let mut paths: Vec<String> = values(globals, scope, filter, false)?
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    paths.sort();
    let mut out = stdout().lock();
    for path in paths {
        writeln!(out, "{path}")?;
    }
    Ok(())
}

fn values(
    globals: &Globals,
    scope: &str,
    filter: Option<&str>,
    reveal: bool,
) -> Result<Vec<(String, String)>> {
    let entry = open(globals, scope, 0)?;
    let text =
        std::str::from_utf8(&entry.plaintext).context("the configuration is not text: use dump")?;
    let mut lines = flatten::lines(text, &entry.format, reveal)?;
    lines.retain(|(path, _)| filter.is_none_or(|part| path.contains(part)));
    Ok(lines)
}

pub(super) fn dump(globals: &Globals, scope: &str) -> Result<()> {
    let entry = open(globals, scope, 0)?;
    let mut out = stdout().lock();
    out.write_all(&entry.plaintext)?;
    Ok(out.flush()?)
}

pub(super) fn scopes(globals: &Globals) -> Result<()> {
    for scope in globals.store()?.scopes()? {
        writeln!(stdout(), "{scope}")?;
    }
    Ok(())
}

pub(in crate::commands) fn list(globals: &Globals, scope: Option<&str>) -> Result<()> {
    let rows = globals.store()?.history(scope)?;
    if rows.is_empty() {
        eprintln!("No configurations found");
        return Ok(());
    }
    let mut out = stdout().lock();
    writeln!(
        out,
        "{:<4} {:<16} {:<20} {:<6} {:<6} Description",
        "Gen", "Scope", "Created At", "Format", "Sealed"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<4} {:<16} {:<20} {:<6} {:<6} {}",
            row.generation,
            row.scope,
            row.created_at,
            row.format,
            if row.sealed { "yes" } else { "no" },
            row.description
        )?;
    }
    Ok(())
}

pub(super) fn diff(globals: &Globals, scope: &str, generation: u32) -> Result<()> {
    let old = open(globals, scope, generation)?;
    let new = open(globals, scope, 0)?;
    if old.plaintext == new.plaintext {
        eprintln!("No differences between generation {generation} and latest");
        return Ok(());
    }
    let texts = (
        std::str::from_utf8(&old.plaintext),
        std::str::from_utf8(&new.plaintext),
    );
    let (Ok(old), Ok(new)) = texts else {
        bail!("generation {generation} and latest differ, and are not text");
    };
    let text = TextDiff::from_lines(old, new)
        .unified_diff()
        .header(&format!("generation {generation}"), "latest")
        .to_string();
    let mut out = stdout().lock();
    let colour = out.is_terminal();
    for line in text.lines() {
        match line.as_bytes().first() {
            Some(b'+') if colour => writeln!(out, "\x1b[32m{line}\x1b[0m")?,
            Some(b'-') if colour => writeln!(out, "\x1b[31m{line}\x1b[0m")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}
