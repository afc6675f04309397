//! Runs the commands of `docs/policies.md` as a new user would, and compares what they print.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/policies.md");
/// Printed between the outputs of two commands.
const MARK: &str = "--- 5f1e next command ---";

/// What a run of tests, or the machine, sets and a new user does not.
const NOT_OF_THE_USER: [&str; 7] = [
    "CARGO_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "LOCKKEEPER_AGE_KEY",
    "LOCKKEEPER_DB",
    "RIPC_AGE_KEY_PATH",
    "RIPC_DB",
];

/// A command and what it is to print.
#[derive(Debug)]
struct Step {
    command: String,
    expected: Vec<String>,
}

fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for line in guide.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_console = line == "```console",
            Some(command) if is_console => steps.push(Step {
                command: command.into(),
                expected: Vec::new(),
            }),
            None if is_console => {
                let step = steps.last_mut().expect("output follows a command");
                step.expected.push(line.trim_end().into());
            }
            _ => {}
        }
    }
    steps
}

/// Whether the text of a line is as expected; `…` stands for anything.
fn line_matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The same for all lines; a line with nothing but `…` stands for any number of them.
fn matches(expected: &[String], found: &[&str]) -> bool {
    match (expected, found) {
        ([], []) => true,
        ([first, rest @ ..], _) if first == "…" => {
            (0..=found.len()).any(|skipped| matches(rest, &found[skipped..]))
        }
        ([first, rest @ ..], [line, lines @ ..]) => {
            line_matches(first, line.trim_end()) && matches(rest, lines)
        }
        _ => false,
    }
}

fn script(steps: &[Step]) -> String {
    let mut script = String::from("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n");
    for step in steps {
        script += &format!("{}\necho '{MARK}'\n", step.command);
    }
    script
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let binaries = Path::new(env!("CARGO_BIN_EXE_lockkeeper"))
        .parent()
        .expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let steps = steps(GUIDE);
    let mut bash = Command::new("timeout");
    bash.args(["500", "bash", "-c", &script(&steps)])
        .current_dir(dir.path())
        .env("PATH", format!("{}:{path}", binaries.display()))
        // What it compiles on the way is shared from one run of the test to the next.
        .env(
            "CARGO_BUILD_BUILD_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies"),
        );
    for name in NOT_OF_THE_USER {
        bash.env_remove(name);
    }
    let output = bash.output().expect("bash runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let outputs: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(outputs.len(), steps.len() + 1, "{printed}");
    for (step, found) in steps.iter().zip(&outputs) {
        let lines: Vec<&str> = found.trim_matches('\n').lines().collect();
        assert!(
            matches(&step.expected, &lines),
            "{}\n--- printed\n{}\n--- expected\n{}",
            step.command,
            found.trim(),
            step.expected.join("\n")
        );
    }
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(line_matches("a … c", "a b c") && line_matches("a…", "a") && line_matches("…", ""));
    assert!(!line_matches("a … c", "a b d") && !line_matches("a", "a b"));
    let expected = ["x", "…", "y"].map(String::from);
    assert!(matches(&expected, &["x", "1", "2", "y"]) && matches(&expected, &["x", "y"]));
    assert!(!matches(&expected, &["x", "1"]) && !matches(&expected, &["1", "y"]));
}
