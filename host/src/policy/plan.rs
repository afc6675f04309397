//! What a component reads out of a configuration: the records of `wit/policy.wit` as plain Rust.

use std::fmt;

use crate::secret::Secret;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Something is not done that the configuration asks for.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// A place in the source of a configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Counts from 1.
    pub line: u32,
    /// Counts characters, from 1.
    pub column: u32,
}

/// One problem, or one thing worth knowing, in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case; for example `unknown-key`.
    pub code: String,
    /// Where in the document; for example `dbs[0].replica.sync-interval`. Empty for the whole.
    pub path: String,
    /// Where in the source.
    pub position: Option<Position>,
    /// What is wrong. Never quotes a secret.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// `3:5: error: dbs[0].path: … [code]`, and the help on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} [{}]", self.message, self.code)?;
        match &self.help {
            Some(help) => write!(f, "\n    help: {help}"),
            None => Ok(()),
        }
    }
}

/// The value of a [`Setting`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
    /// Milliseconds.
    Duration(u64),
    Bytes(u64),
    Secret(Secret),
}

/// A setting by the name of its key in `litestream.yml`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Setting {
    /// Nested keys are joined by dots, list elements by their number.
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// Where a database goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ReplicaPlan {
    /// `file`, `s3`, …
    pub(crate) kind: String,
    pub(crate) settings: Vec<Setting>,
}

/// One entry of `dbs`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct DatabasePlan {
    /// A database file. Exactly one of `path` and `dir` is there.
    pub(crate) path: Option<String>,
    /// A directory of databases.
    pub(crate) dir: Option<String>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) replica: ReplicaPlan,
}

/// What a valid configuration asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) databases: Vec<DatabasePlan>,
    pub(crate) settings: Vec<Setting>,
    /// Warnings and notes.
    pub(crate) diagnostics: Vec<Diagnostic>,
}
