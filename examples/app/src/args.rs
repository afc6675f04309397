//! The command line, with one dash or two.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// The names of the flags.
const FLAGS: [&str; 5] = ["age-key", "agekey", "dbpath", "addr", "trace"];

/// A guest book whose database is replicated while it runs.
#[derive(Parser)]
#[command(name = "myapp", version)]
#[command(override_usage = "myapp -age-key FILE -dbpath FILE [-addr ADDRESS] [-trace FOLDER]")]
struct Flags {
    /// The age key that opens the configuration [env: LOCKKEEPER_AGE_KEY, RIPC_AGE_KEY_PATH]
    #[arg(long, alias = "agekey", value_name = "FILE")]
    age_key: Option<PathBuf>,
    /// The application's database, with its configuration inside [env: LOCKKEEPER_DB, RIPC_DB]
    #[arg(long, value_name = "FILE")]
    dbpath: Option<PathBuf>,
    /// Where to listen, as HOST:PORT or :PORT [default: server.addr of the scope `application`]
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// Record what is decided about the replication in this folder, for `lockkeeper policy replay`
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
}

/// What the user asked for.
pub(crate) struct Options {
    pub(crate) age_key: PathBuf,
    pub(crate) dbpath: PathBuf,
    pub(crate) addr: Option<String>,
    pub(crate) trace: Option<PathBuf>,
}

impl Options {
    /// Reads the command line, then the environment.
    pub(crate) fn parse_from(
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let flags = Flags::try_parse_from(arguments.map(with_two_dashes))?;
        let age_key = flags
            .age_key
            .or_else(|| variable("LOCKKEEPER_AGE_KEY"))
            .or_else(|| variable("RIPC_AGE_KEY_PATH"));
        let dbpath = flags
            .dbpath
            .or_else(|| variable("LOCKKEEPER_DB"))
            .or_else(|| variable("RIPC_DB"));
        Ok(Self {
            age_key: age_key.ok_or_else(|| missing("-age-key"))?,
            dbpath: dbpath.ok_or_else(|| missing("-dbpath"))?,
            addr: flags.addr,
            trace: flags.trace,
        })
    }
}

fn missing(flag: &str) -> clap::Error {
    let message = format!("{flag} is required");
    Flags::command().error(ErrorKind::MissingRequiredArgument, message)
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// clap knows long flags with two dashes only.
fn with_two_dashes(word: OsString) -> OsString {
    let name = word.as_encoded_bytes().strip_prefix(b"-");
    let is_flag = name.is_some_and(|name| FLAGS.iter().any(|f| name.starts_with(f.as_bytes())));
    if is_flag {
        let mut long = OsString::from("-");
        long.push(word);
        long
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str) {
        let words = line.split_whitespace().map(OsString::from);
        let options = Options::parse_from(words).unwrap();
        assert_eq!(options.age_key, PathBuf::from("key.txt"), "{line}");
        assert_eq!(options.dbpath, PathBuf::from("app.db"), "{line}");
        assert_eq!(options.addr.as_deref(), Some(":80"), "{line}");
    }

    #[test]
    fn flags_take_one_dash_or_two_and_a_space_or_an_equals_sign() {
        check("myapp -age-key key.txt -dbpath app.db -addr :80");
        check("myapp --age-key key.txt --dbpath app.db --addr :80");
        check("myapp -agekey=key.txt -dbpath=app.db --addr=:80");
    }
}
