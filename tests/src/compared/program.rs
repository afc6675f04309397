//! The two programs. Both are told the same with the same words.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::comes_true;
use super::place::Place;
use crate::litestream::{Litestream, NEWEST};
use crate::process::{Ended, Running};

/// How long a program may need to come over what happened. It looks at its database every second.
const PATIENCE: Duration = Duration::from_secs(8);

/// A program with the command line of Litestream.
#[derive(Clone, Debug)]
pub struct Program {
    binary: PathBuf,
    name: Name,
}

/// Which one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// The official one.
    Litestream,
    /// Ours.
    Lockkeeper,
}

impl Program {
    /// The official binary, unless it is not installed; see [`Litestream::find`].
    #[must_use]
    pub fn litestream() -> Option<Self> {
        let binary = Litestream::find(NEWEST)?.binary().to_owned();
        let name = Name::Litestream;
        Some(Self { binary, name })
    }

    /// The binary of lockkeeper that is there.
    #[must_use]
    pub fn lockkeeper(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            name: Name::Lockkeeper,
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// Replicates until it is told to stop; it can be asked when this returns.
    pub(super) fn replicate(&self, place: &Place) -> Running {
        let mut command = self.command();
        command.args(["replicate", "-config"]).arg(place.config());
        let mut running = Running::start(&mut command);
        let listens = match self.name {
            Name::Litestream => "control socket listening",
            Name::Lockkeeper => "listening for control commands",
        };
        running.wait_for("the control socket", |line| line.contains(listens));
        running
    }

    /// Sends what is committed, then ends.
    #[track_caller]
    pub(super) fn replicate_once(&self, place: &Place) {
        let mut command = self.command();
        command.args(["replicate", "-once", "-config"]);
        let ended = Running::start(command.arg(place.config())).finish();
        assert!(ended.status.success(), "{ended:#?}");
    }

    /// Sends what is committed.
    #[track_caller]
    pub(super) fn sync(&self, place: &Place) {
        if let Err(said) = self.try_sync(place) {
            panic!("{self}: {said}");
        }
    }

    /// Asks for a sync until it succeeds or patience ends. What was said last is the error.
    pub(super) fn try_sync(&self, place: &Place) -> Result<(), String> {
        let mut said = Ok(());
        comes_true(PATIENCE, || {
            said = self
                .ask(place, &["sync", "-wait"], &[place.database()])
                .map(|_| ());
            said.is_ok()
        });
        said
    }

    /// What the running process says of its database.
    pub(super) fn list(&self, place: &Place) -> Value {
        let printed = self
            .ask(place, &["list", "-json"], &[])
            .expect("it is asked");
        let mut list: Value = serde_json::from_str(&printed).expect("it prints JSON");
        list["databases"][0].take()
    }

    /// Restores the newest state.
    ///
    /// # Errors
    ///
    /// What it says.
    pub(super) fn restore(
        &self,
        place: &Place,
        output: &Path,
        flags: &[&str],
    ) -> Result<(), String> {
        let mut command = self.command();
        command.arg("restore").args(flags).arg("-o").arg(output);
        let ended = Running::start(command.arg(place.replica_url())).finish();
        answer(ended, place).map(|_| ())
    }

    /// Keeps a copy up to date until it is told to stop.
    pub(super) fn follow(&self, place: &Place, output: &Path) -> Running {
        let mut command = self.command();
        command.args(["restore", "-f", "-o"]).arg(output);
        Running::start(command.arg(place.replica_url()))
    }

    fn ask(&self, place: &Place, asked: &[&str], about: &[PathBuf]) -> Result<String, String> {
        let mut command = self.command();
        command.args(asked).arg("-socket").arg(place.socket());
        answer(Running::start(command.args(about)).finish(), place)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear();
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.name {
            Name::Litestream => "Litestream",
            Name::Lockkeeper => "lockkeeper",
        })
    }
}

/// What was printed. If it failed, only the message, to be quoted.
pub(super) fn answer(ended: Ended, place: &Place) -> Result<String, String> {
    if ended.status.success() {
        return Ok(ended.printed.join("\n"));
    }
    let mut lines = ended.printed.iter().rev();
    let message = lines.find_map(|line| line.strip_prefix("Error: "));
    Err(place.quote(message.unwrap_or("nothing")))
}
