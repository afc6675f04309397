use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::policy::{Component, PolicySource, self_test};
use serde_json::json;

use crate::text;

#[derive(clap::Args)]
pub(crate) struct Check {
    /// The SHA-256 that it must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The component
    file: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let source = PolicySource::File(self.file);
        let component = Component::load_pinned(&source, self.sha256.as_deref())?;
        let tested = self_test(&component)?;
        if self.json {
            return text::print_json(&json!({
                "name": component.name(),
                "version": component.version(),
                "sha256": component.digest(),
                "tested": tested,
            }));
        }
        text::say(format_args!(
            "{} {} can be installed: it answered {tested} questions\nsha256 {}",
            component.name(),
            component.version(),
            component.digest()
        ))?;
        Ok(())
    }
}
