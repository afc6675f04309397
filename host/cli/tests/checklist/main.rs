//! What the command line owes to those who come from the seed: its spellings, its quickstart, its
//! rules for configurations. Each test is named after its item of the checklist.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod a_spellings;
mod b_quickstart;
mod c_restore;
mod d_rules;
mod g_replicas;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;

/// Runs the command line with these variables and no others.
fn run_with(dir: &Path, variables: &[(&str, &str)], line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("lockkeeper starts")
}

/// One column of one query, as the tests look at a database that nobody else has open.
fn column(database: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(database).expect("a database");
    let mut statement = connection.prepare(sql).expect("valid SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("text")
}
