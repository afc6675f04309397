//! The official Litestream binary, which `.ci/setup` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Ended, Running};
use crate::tools::tool;

/// The newest release; it reads and writes block pages.
pub const NEWEST: &str = "0.5.17";
/// A release that knows frame pages only.
pub const FRAMES_ONLY: &str = "0.5.11";

/// One version of the binary.
#[derive(Clone, Debug)]
pub struct Litestream(PathBuf);

impl Litestream {
    /// Finds a version. Without it the test says so and is skipped, but not where `CI` is `true`:
    /// there it fails.
    #[must_use]
    pub fn find(version: &str) -> Option<Self> {
        tool(&format!("litestream-{version}/bin/litestream")).map(Self)
    }

    /// Where it is.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.0
    }

    /// Syncs a database with its replica once.
    ///
    /// # Panics
    ///
    /// If it fails or has anything to complain of.
    #[track_caller]
    pub fn replicate_once(&self, database: &Path, replica: &Path) {
        let mut command = self.command();
        command
            .args(["replicate", "-once"])
            .arg(database)
            .arg(url(replica));
        assert_content(&Running::start(&mut command).finish());
    }

    /// Syncs the databases of a `litestream.yml` once.
    ///
    /// # Panics
    ///
    /// If it fails or has anything to complain of.
    #[track_caller]
    pub fn replicate_config_once(&self, config: &Path) {
        let mut command = self.command();
        command.args(["replicate", "-once", "-config"]).arg(config);
        assert_content(&Running::start(&mut command).finish());
    }

    /// Restores a database of a `litestream.yml` to a point; returns its bytes.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    #[must_use]
    pub fn restored_by_config(&self, config: &Path, database: &Path, point: &[&str]) -> Vec<u8> {
        let output = tempfile::tempdir().expect("make a folder");
        let path = output.path().join("restored.db");
        let mut command = self.command();
        command.args(["restore", "-config"]).arg(config);
        command.arg("-o").arg(&path).args(point).arg(database);
        let ended = Running::start(&mut command).finish();
        assert!(ended.status.success(), "{point:?}: {ended:?}");
        std::fs::read(path).expect("read what was restored")
    }

    /// Replicates until it is told to stop, with a `litestream.yml`. It logs everything it does.
    #[must_use]
    pub fn replicate(&self, config: &Path) -> Running {
        let mut command = self.command();
        command
            .args(["replicate", "-log-level", "debug", "-config"])
            .arg(config);
        Running::start(&mut command)
    }

    /// Restores to a point, such as `["-txid", "0000000000000003"]`; returns the bytes of the
    /// database.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    #[must_use]
    pub fn restored(&self, replica: &Path, point: &[&str]) -> Vec<u8> {
        self.try_restored(replica, point)
            .unwrap_or_else(|printed| panic!("{point:?}: {printed}"))
    }

    /// The same, for a point that may not be there.
    ///
    /// # Errors
    ///
    /// What was printed if it failed.
    pub fn try_restored(&self, replica: &Path, point: &[&str]) -> Result<Vec<u8>, String> {
        let output = tempfile::tempdir().expect("make a folder");
        let path = output.path().join("restored.db");
        let mut command = self.command();
        command.args(["restore", "-o"]).arg(&path).args(point);
        let ended = Running::start(command.arg(url(replica))).finish();
        if ended.status.success() {
            Ok(std::fs::read(path).expect("read what was restored"))
        } else {
            Err(ended.printed.join("\n"))
        }
    }

    /// Asks the process that listens at a socket, with a command such as `sync -wait`; returns what
    /// was printed.
    ///
    /// # Errors
    ///
    /// What was printed if it failed.
    pub fn control(
        &self,
        command: &str,
        socket: &Path,
        operands: &[PathBuf],
    ) -> Result<String, String> {
        let mut asked = self.command();
        asked.args(command.split(' ')).arg("-socket").arg(socket);
        let ended = Running::start(asked.args(operands)).finish();
        let printed = ended.printed.join("\n");
        if ended.status.success() {
            Ok(printed)
        } else {
            Err(printed)
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // It refuses to start where this names a file that it does not like.
        command.env_remove("AWS_CA_BUNDLE");
        command
    }
}

/// Fails unless it ended well and complained of nothing.
#[track_caller]
pub fn assert_content(ended: &Ended) {
    let complains = |line: &String| line.contains("level=ERROR") || line.contains("level=WARN");
    assert!(
        ended.status.success() && !ended.printed.iter().any(complains),
        "{ended:#?}"
    );
}

fn url(replica: &Path) -> String {
    format!("file://{}", replica.display())
}
