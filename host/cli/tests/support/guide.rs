//! Runs the commands of a page of `docs/` as a new user would, and compares what they print.
//!
//! Only blocks that are marked `console` are run, all of a page in one shell. A line that begins
//! with `$ ` is a command; it goes on while lines end with a backslash, and until `END` if it reads
//! from `<<'END'`. Other lines are what it prints, on either stream. `…` stands for anything, and a
//! line with nothing else for any number of lines. A command ends well, unless a line that it
//! prints begins with `Error: `.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Printed between the outputs of two commands, with the exit code of the first.
const MARK: &str = "--- 5f1e next command ---";
/// How long a page may take. A minute is enough, but for a machine that does much else.
const SECONDS_MAX: &str = "1500";
const HERE_DOCUMENT: &str = "<<'END'";

/// What a run of tests, or the machine, sets and a new user does not.
const NOT_OF_THE_USER: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_SECRET_ACCESS_KEY",
    "CARGO_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "LITESTREAM_CONFIG",
    "LOCKKEEPER_AGE_KEY",
    "LOCKKEEPER_DB",
    "RIPC_AGE_KEY_PATH",
    "RIPC_DB",
    "RUSTFLAGS",
];

/// A command and what it is to print.
#[derive(Debug, Default, Eq, PartialEq)]
struct Step {
    command: String,
    expected: Vec<String>,
}

/// A page whose commands are to be run.
pub(crate) struct Guide {
    page: String,
    programs: Vec<PathBuf>,
    folder: TempDir,
}

impl Guide {
    /// A page, in an empty folder.
    pub(crate) fn new(page: &str) -> Self {
        let lockkeeper = Path::new(env!("CARGO_BIN_EXE_lockkeeper"));
        Self {
            page: page.into(),
            programs: vec![lockkeeper.parent().expect("a folder").to_owned()],
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// The folder that the commands begin in, for what the page takes for granted.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Something that the page lets its reader choose, such as a port.
    #[track_caller]
    pub(crate) fn replacing(mut self, what: &str, with: &str) -> Self {
        assert!(self.page.contains(what), "{what} is not in the page");
        self.page = self.page.replace(what, with);
        self
    }

    /// A program that the page tells to install.
    pub(crate) fn with_program(mut self, binary: &Path) -> Self {
        let folder = binary.parent().expect("a folder");
        self.programs.push(folder.to_owned());
        self
    }

    /// Runs all commands. Fails at the first that does not do what the page says.
    pub(crate) fn check(self) {
        let steps = steps(&self.page);
        assert!(!steps.is_empty(), "there is nothing to run");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = self
            .programs
            .into_iter()
            .chain(std::env::split_paths(&path));
        let mut bash = Command::new("timeout");
        bash.args(["--kill-after=20", SECONDS_MAX])
            .args(["bash", "-c", &script(&steps)])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(path).expect("a path"))
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
        let mut rest = printed.as_ref();
        for step in &steps {
            let Some((found, after)) = rest.split_once(MARK) else {
                panic!("{}\n--- did not end; it printed\n{rest}", step.command);
            };
            let (code, after) = after.split_once('\n').unwrap_or((after, ""));
            check(step, found, code.trim());
            rest = after;
        }
    }
}

fn check(step: &Step, found: &str, code: &str) {
    let lines: Vec<&str> = found.trim_matches('\n').lines().collect();
    let fails = step.expected.iter().any(|line| line.starts_with("Error: "));
    assert!(
        matches(&step.expected, &lines) && (code != "0") == fails,
        "{}\n--- exit code {code}, printed\n{}\n--- expected\n{}",
        step.command,
        found.trim(),
        step.expected.join("\n")
    );
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            let mut command = command.to_owned();
            let end = |command: &str| {
                if command.contains(HERE_DOCUMENT) {
                    command.ends_with("\nEND")
                } else {
                    !command.ends_with('\\')
                }
            };
            while !end(&command) {
                command = command + "\n" + lines.next().expect("the command goes on");
            }
            steps.push(Step {
                command,
                expected: Vec::new(),
            });
        } else if is_console {
            let step = steps.last_mut().expect("output follows a command");
            step.expected.push(line.trim_end().into());
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

/// All commands in one script. What still runs at its end is ended and waited for, so that nothing
/// is left behind when the folder goes.
fn script(steps: &[Step]) -> String {
    let mut script = String::from("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n");
    for step in steps {
        let written = writeln!(script, "{}\necho \"{MARK}$?\"", step.command);
        written.expect("there is memory");
    }
    script
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(line_matches("a … c", "a b c") && line_matches("a…", "a") && line_matches("…", ""));
    assert!(!line_matches("a … c", "a b d") && !line_matches("a", "a b"));
    let expected = ["x", "…", "y"].map(String::from);
    assert!(matches(&expected, &["x", "1", "2", "y"]) && matches(&expected, &["x", "y"]));
    assert!(!matches(&expected, &["x", "1"]) && !matches(&expected, &["1", "y"]));
}

#[test]
fn a_command_goes_on_over_lines_and_what_it_prints_follows() {
    let page = "```console\n$ a \\\n  b\nc\n$ cat > d <<'END'\ne\nEND\n```\n\n```bash\n$ f\n```\n";
    let found = steps(page);
    let found = found
        .iter()
        .map(|step| (&*step.command, step.expected.len()));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [("a \\\n  b", 1), ("cat > d <<'END'\ne\nEND", 0)]
    );
}
