//! What a configuration says and what is wrong with it: the contract's records as plain Rust.

use alloc::string::String;
use alloc::vec::Vec;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Something is not done that the configuration asks for.
    Warning,
    /// Worth knowing.
    Note,
}

/// A place in the source. Both count from 1; columns count characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One problem, or one thing worth knowing.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: &'static str,
    /// Where in the document, for example `dbs[0].replica.sync-interval`.
    pub path: String,
    /// Where in the source.
    pub position: Option<Position>,
    /// What is wrong. Never quotes a secret.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// The value of a [`Setting`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Milliseconds.
    Duration(u64),
    /// A size in bytes.
    Bytes(u64),
    /// Text that must never be printed.
    Secret(String),
}

/// A setting by the name of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// Nested keys are joined by dots, list elements by their number.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Where a database goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Replica {
    /// `file`, `s3`, …
    pub kind: String,
    /// Every setting with its default filled in.
    pub settings: Vec<Setting>,
}

/// One entry of `dbs`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Database {
    /// A database file.
    pub path: Option<String>,
    /// A directory of databases.
    pub dir: Option<String>,
    /// Every setting with its default filled in.
    pub settings: Vec<Setting>,
    /// Where it goes.
    pub replica: Replica,
}

/// What a valid configuration asks for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The databases, in the order of the source.
    pub databases: Vec<Database>,
    /// What holds for all of them.
    pub settings: Vec<Setting>,
    /// Warnings and notes.
    pub diagnostics: Vec<Diagnostic>,
}
