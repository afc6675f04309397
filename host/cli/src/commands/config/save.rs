//! Saving a file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lockkeeper::Configuration;
use lockkeeper::config::LITESTREAM_SCOPE;
use lockkeeper::policy::{Component, PolicySource};
use zeroize::Zeroizing;

use crate::args::Globals;

pub(super) fn save(
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
