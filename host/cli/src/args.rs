//! The global flags, and the spellings of flags that are accepted.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser};
use lockkeeper::config::{ConfigStore, Identities, KeyFile, KeyFileCheck};

use crate::commands::Command;

/// Continuous SQLite replication: keys, configuration and restore.
#[derive(Parser)]
#[command(name = "lockkeeper", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The flags of every command.
#[derive(Args)]
pub(crate) struct Globals {
    /// The age key file [env: LOCKKEEPER_AGE_KEY, RIPC_AGE_KEY_PATH; else ./age_key.txt, ./age.key]
    #[arg(long, visible_alias = "agekey", global = true, value_name = "FILE")]
    age_key: Option<PathBuf>,
    /// The application's database [env: LOCKKEEPER_DB, RIPC_DB]
    #[arg(long, global = true, value_name = "FILE")]
    dbpath: Option<PathBuf>,
    /// Accept a key file that others can access, or a symbolic link to one
    #[arg(long, global = true)]
    insecure_key_file: bool,
}

impl Globals {
    /// Reads the key file.
    pub(crate) fn identities(&self) -> Result<Identities> {
        let check = if self.insecure_key_file {
            KeyFileCheck::Override
        } else {
            KeyFileCheck::Strict
        };
        let given = self
            .age_key
            .clone()
            .or_else(|| first_variable(&["LOCKKEEPER_AGE_KEY", "RIPC_AGE_KEY_PATH"]));
        let found = given.or_else(|| {
            let names = ["age_key.txt", "age.key"].map(PathBuf::from);
            names
                .into_iter()
                .find(|name| name.symlink_metadata().is_ok())
        });
        let Some(path) = found else {
            bail!(
                "no age key: give -age-key FILE, or set LOCKKEEPER_AGE_KEY, or make one with \
                 `lockkeeper keygen -o age_key.txt` (age-keygen works too)"
            );
        };
        Ok(KeyFile::read(path, check)?)
    }

    /// The path of the database.
    pub(crate) fn db_path(&self) -> Result<PathBuf> {
        match self
            .dbpath
            .clone()
            .or_else(|| first_variable(&["LOCKKEEPER_DB", "RIPC_DB"]))
        {
            Some(path) => Ok(path),
            None => bail!("no database: give -dbpath FILE, or set LOCKKEEPER_DB"),
        }
    }

    /// Opens the existing database.
    pub(crate) fn store(&self) -> Result<ConfigStore> {
        Ok(ConfigStore::open(self.db_path()?)?)
    }
}

fn first_variable(names: &[&str]) -> Option<PathBuf> {
    let value = names
        .iter()
        .filter_map(env::var_os)
        .find(|value| !value.is_empty())?;
    Some(value.into())
}

/// Doubles the dash of single-dash long flags, which clap does not know.
///
/// Left alone: `-h`, `-o FILE`, `-o=FILE`, negative numbers, and all that follows `--`.
pub(crate) fn normalise(argv: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut only_values = false;
    argv.map(|word| {
        only_values |= word == "--";
        if only_values || !is_long_with_one_dash(word.as_encoded_bytes()) {
            return word;
        }
        let mut long = OsString::from("-");
        long.push(word);
        long
    })
    .collect()
}

fn is_long_with_one_dash(word: &[u8]) -> bool {
    matches!(word, [b'-', first, second, ..]
        if first.is_ascii_alphabetic() && (second.is_ascii_alphanumeric() || *second == b'-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_unit_for_systemd_starts_what_there_is() {
        let unit = include_str!("../../../examples/systemd/lockkeeper.service");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let words = line.unwrap().split(' ').map(OsString::from);
        let cli = Cli::try_parse_from(normalise(words)).unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(cli.command, Some(Command::Replicate(_))));
        let credential = unit
            .lines()
            .find_map(|line| line.strip_prefix("LoadCredential="));
        let (name, _) = credential.unwrap().split_once(':').unwrap();
        let key = format!("${{CREDENTIALS_DIRECTORY}}/{name}");
        assert_eq!(cli.globals.age_key, Some(PathBuf::from(key)));
        // Its folder is the one that may be written.
        let db_path = cli.globals.dbpath.unwrap();
        let folder = format!("ReadWritePaths={}", db_path.parent().unwrap().display());
        assert!(unit.lines().any(|line| line == folder), "{folder}");
    }
}
