use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::text;

/// The files of a new project, by their path in it.
const FILES: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        include_str!("../../../templates/policy/Cargo.toml"),
    ),
    (
        "README.md",
        include_str!("../../../templates/policy/README.md"),
    ),
    (
        ".gitignore",
        include_str!("../../../templates/policy/gitignore"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../templates/policy/src/lib.rs"),
    ),
    (
        "src/rules.rs",
        include_str!("../../../templates/policy/src/rules.rs"),
    ),
    (
        "cases/decisions.json",
        include_str!("../../../templates/policy/cases/decisions.json"),
    ),
    (
        "wit/policy.wit",
        include_str!("../../../../../wit/policy.wit"),
    ),
];
/// What stands in them for the name of the project, and for that of its library.
const NAME: &str = "policy-name";
const LIBRARY: &str = "policy_name";

#[derive(clap::Args)]
pub(crate) struct New {
    /// The name: lower-case letters, digits and dashes
    name: String,
    /// Where to put it (default: a folder of its name)
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<()> {
        let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        let begins = self.name.starts_with(|it: char| it.is_ascii_lowercase());
        if !begins || !self.name.chars().all(is_plain) {
            bail!(
                "'{}' cannot be a name: begin with a lower-case letter, and use those, digits and \
                 dashes",
                self.name
            );
        }
        let folder = self.output.unwrap_or_else(|| PathBuf::from(&self.name));
        if folder.symlink_metadata().is_ok() {
            bail!("{} exists already and is left as it is", folder.display());
        }
        for (path, text) in FILES {
            let path = folder.join(path);
            let what = || format!("cannot write {}", path.display());
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(what)?;
            let text = text.replace(NAME, &self.name);
            let text = text.replace(LIBRARY, &self.name.replace('-', "_"));
            fs::write(&path, text).with_context(what)?;
        }
        text::say(format_args!(
            "Wrote {}; its README.md says how to go on",
            folder.display()
        ))?;
        Ok(())
    }
}
