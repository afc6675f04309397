//! `docs/operations.md` names every state that the status can have.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

/// The source of the status, whose enumerations are read.
const STATUS: &str = include_str!("../src/engine/status.rs");
/// The fields that tell of a problem.
const FIELDS: [&str; 9] = [
    "lag",
    "lost",
    "verification_failed",
    "head_missing",
    "undone",
    "deletion_paused",
    "log_held",
    "rejected",
    "error",
];

/// The variants of an enumeration, in their order.
fn variants(name: &str) -> Vec<&'static str> {
    let (_, rest) = STATUS
        .split_once(&format!("pub enum {name} {{\n"))
        .expect("the enumeration is there");
    let (body, _) = rest.split_once("\n}\n").expect("it ends");
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let is_part = |c: char| !c.is_ascii_alphabetic();
    names
        .filter_map(|line| line.split(is_part).next())
        .collect()
}

#[test]
fn every_state_and_every_sign_of_trouble_is_named_with_what_to_do() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(file).expect("the file is there");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let states = variants("DatabaseState");
    assert!(states.len() >= 7, "{states:?}");
    for state in states {
        let is_row = |row: &&&str| row.contains(&format!("| `{state}` |"));
        let row = rows.iter().find(is_row);
        let row = row.unwrap_or_else(|| panic!("`{state}` is not explained"));
        assert_eq!(row.matches(" | ").count(), 3, "{row}");
    }
    for name in ["ControlState", "HeartbeatState"] {
        for state in variants(name) {
            let is_row = |row: &&str| row.contains(&format!("`{state}`"));
            assert!(rows.iter().any(is_row), "{name}: {state}");
        }
    }
    for field in FIELDS {
        assert!(STATUS.contains(field), "there is no {field}");
        let is_row = |row: &&str| row.split(" | ").next().is_some_and(|it| it.contains(field));
        assert!(rows.iter().any(is_row), "`{field}` is not explained");
    }
}
