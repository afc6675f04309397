//! The two programs, and how each is told to do the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// The version of the official binary.
pub(crate) const OFFICIAL_VERSION: &str = "0.5.17";

/// Which one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    Lockkeeper,
    Official,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lockkeeper => "lockkeeper",
            Self::Official => "litestream",
        })
    }
}

/// Where both are.
#[derive(Debug)]
pub(crate) struct Programs {
    lockkeeper: PathBuf,
    official: PathBuf,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Binary(PathBuf);

impl Programs {
    /// Finds the official binary, and builds lockkeeper's as it is shipped unless it is given.
    pub(crate) fn find(lockkeeper: Option<PathBuf>, official: Option<PathBuf>) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let official = official.unwrap_or_else(|| {
            let tools = std::env::var_os("LOCKKEEPER_TEST_TOOLS")
                .map_or_else(|| root.join("target/test-tools"), PathBuf::from);
            tools.join(format!("litestream-{OFFICIAL_VERSION}/bin/litestream"))
        });
        ensure!(
            official.exists(),
            "{} is not there: run .ci/setup, or give --litestream FILE",
            official.display()
        );
        let lockkeeper = match lockkeeper {
            Some(path) => path,
            None => build(&root)?,
        };
        Ok(Self {
            lockkeeper: std::path::absolute(lockkeeper)?,
            official: std::path::absolute(official)?,
        })
    }

    pub(crate) fn start(&self, program: Program) -> Binary {
        Binary(match program {
            Program::Lockkeeper => self.lockkeeper.clone(),
            Program::Official => self.official.clone(),
        })
    }
}

impl Binary {
    /// Replicates until it is told to stop.
    pub(crate) fn replicate(&self, config: &Path) -> Command {
        let mut command = self.command();
        command.args(["replicate", "-config"]).arg(config);
        command
    }

    /// Sends what is committed, then ends.
    pub(crate) fn replicate_once(&self, config: &Path) -> Command {
        let mut command = self.command();
        command.args(["replicate", "-once", "-config"]).arg(config);
        command
    }

    /// Restores the newest state.
    pub(crate) fn restore(&self, replica: &Path, output: &Path) -> Command {
        let mut command = self.command();
        command.args(["restore", "-o"]).arg(output);
        command.arg(format!("file://{}", replica.display()));
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // The official one refuses to start where this names a file that it does not like.
        command.env_remove("AWS_CA_BUNDLE");
        command
    }
}

/// Builds with the release profile; returns the binary, which lies beside this one then.
fn build(root: &Path) -> Result<PathBuf> {
    let target = std::env::current_exe()?;
    let target = target
        .ancestors()
        .nth(2)
        .context("this binary lies in no target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "lockkeeper-cli"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(root)
        .status()
        .context("cannot run cargo; give --lockkeeper FILE")?;
    ensure!(status.success(), "lockkeeper could not be built");
    Ok(target.join("release/lockkeeper"))
}
