use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lockkeeper::Configuration;
use lockkeeper::config::{APPLICATION_SCOPE, LITESTREAM_SCOPE};
use lockkeeper::policy::{Component, PolicySource};
use similar::TextDiff;
use zeroize::Zeroizing;

use crate::args::Globals;
use crate::flatten;

#[derive(clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Nested,
}

#[derive(clap::Subcommand)]
enum Nested {
    /// List the generations
    List { scope: Option<String> },
    #[command(flatten)]
    Any(Action),
}

#[derive(clap::Args)]
pub(crate) struct Scope {
    /// Whose configuration
    #[arg(long, default_value = APPLICATION_SCOPE)]
    scope: String,
}

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Encrypt a file and save it as the newest generation
    Save {
        #[command(flatten)]
        scope: Scope,
        /// How to read it (default: the file's extension)
        #[arg(long)]
        format: Option<String>,
        /// Why it is saved
        #[arg(long)]
        desc: Option<String>,
        file: PathBuf,
    },
    /// Print the values, one `path = value` a line
    Get {
        #[command(flatten)]
        scope: Scope,
        /// Print secrets too
        #[arg(long)]
        reveal: bool,
        /// Only paths that contain this
        filter: Option<String>,
    },
    /// Print the newest generation as it was saved, secrets included
    Dump {
        #[command(flatten)]
        scope: Scope,
    },
    /// List the scopes
    Scopes,
    /// Compare a generation with the newest, secrets included
    Diff {
        #[command(flatten)]
        scope: Scope,
        generation: u32,
    },
    /// Save an older generation again as the newest
    Rollback {
        #[command(flatten)]
        scope: Scope,
        generation: u32,
    },
}

impl Config {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Nested::List { scope } => list(globals, scope.as_deref()),
            Nested::Any(action) => action.run(globals),
        }
    }
}

impl Action {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self {
            Self::Save {
                scope,
                format,
                desc,
                file,
            } => save(globals, &scope.scope, format, desc, &file),
            Self::Get {
                scope,
                reveal,
                filter,
            } => {
                let entry = globals
                    .store()?
                    .get(&globals.identities()?, &scope.scope, 0)?;
                let text = std::str::from_utf8(&entry.plaintext)
                    .context("the configuration is not text: use dump")?;
                let mut out = stdout().lock();
                for (path, value) in flatten::lines(text, &entry.format, reveal)? {
                    if filter.as_ref().is_none_or(|part| path.contains(part)) {
                        writeln!(out, "{path} = {value}")?;
                    }
                }
                Ok(())
            }
            Self::Dump { scope } => {
                let entry = globals
                    .store()?
                    .get(&globals.identities()?, &scope.scope, 0)?;
                let mut out = stdout().lock();
                out.write_all(&entry.plaintext)?;
                Ok(out.flush()?)
            }
            Self::Scopes => {
                for scope in globals.store()?.scopes()? {
                    writeln!(stdout(), "{scope}")?;
                }
                Ok(())
            }
            Self::Diff { scope, generation } => diff(globals, &scope.scope, generation),
            Self::Rollback { scope, generation } => {
                let store = globals.store()?;
                store.rollback(&globals.identities()?, &scope.scope, generation)?;
                eprintln!(
                    "Rolled back scope '{}' to generation {generation}",
                    scope.scope
                );
                Ok(())
            }
        }
    }
}

fn save(
    globals: &Globals,
    scope: &str,
    format: Option<String>,
    desc: Option<String>,
    file: &Path,
) -> Result<()> {
    let store = globals.store()?;
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = Zeroizing::new(bytes);
    let extension = || {
        file.extension()
            .map(|end| end.to_string_lossy().into_owned())
    };
    let Some(format) = format.or_else(extension) else {
        bail!("{} has no extension: give -format", file.display());
    };
    if scope == LITESTREAM_SCOPE {
        if !matches!(format.as_str(), "yml" | "yaml") {
            bail!(
                "{}: expected 'yaml' or 'yml', found '{format}'",
                file.display()
            );
        }
        validate(&bytes, file)?;
    }
    let base = file.file_name().unwrap_or_default().to_string_lossy();
    let desc = desc.unwrap_or_else(|| format!("Inserted from file: {base}"));
    store.save(&globals.identities()?, scope, &bytes, &format, &desc)?;
    eprintln!(
        "Successfully saved file '{}' to scope '{scope}' in database",
        file.display()
    );
    Ok(())
}

/// Refuses what could not be started with; says what else is worth knowing.
fn validate(bytes: &[u8], file: &Path) -> Result<()> {
    let text =
        std::str::from_utf8(bytes).with_context(|| format!("{} is not text", file.display()))?;
    let component = Component::load(&PolicySource::Embedded)?;
    let configuration = Configuration::read(text, &component, Path::new("."))
        .with_context(|| format!("{} was not saved", file.display()))?;
    for found in configuration.diagnostics() {
        eprintln!("{}:{found}", file.display());
    }
    Ok(())
}

pub(super) fn list(globals: &Globals, scope: Option<&str>) -> Result<()> {
    let rows = globals.store()?.history(scope)?;
    if rows.is_empty() {
        eprintln!("No configurations found");
        return Ok(());
    }
    let mut out = stdout().lock();
    writeln!(
        out,
        "{:<4} {:<16} {:<20} {:<6} Description",
        "Gen", "Scope", "Created At", "Format"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<4} {:<16} {:<20} {:<6} {}",
            row.generation, row.scope, row.created_at, row.format, row.description
        )?;
    }
    Ok(())
}

fn diff(globals: &Globals, scope: &str, generation: u32) -> Result<()> {
    let (store, identities) = (globals.store()?, globals.identities()?);
    let old = store.get(&identities, scope, generation)?;
    let new = store.get(&identities, scope, 0)?;
    if old.plaintext == new.plaintext {
        eprintln!("No differences between generation {generation} and latest");
        return Ok(());
    }
    let old = String::from_utf8_lossy(&old.plaintext);
    let new = String::from_utf8_lossy(&new.plaintext);
    let text = TextDiff::from_lines(old.as_ref(), new.as_ref())
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
