//! Runs the command line in a folder of its own.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) const YML: &str =
    "dbs:\n  - path: ./app.db\n    replica:\n      path: ./litestream-replicas\n";
pub(crate) const SAVE: &str =
    "-age-key age_key.txt -dbpath app.db config save -scope litestream litestream.yml";
pub(crate) const DUMP: &str = "-agekey=age_key.txt --dbpath app.db dump -scope litestream";

/// The command line in this folder, with nothing of the environment.
pub(crate) fn command(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockkeeper"));
    command
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear();
    command
}

pub(crate) fn run(dir: &Path, line: &str) -> Output {
    let output = command(dir, line).output();
    output.expect("lockkeeper starts")
}

#[track_caller]
pub(crate) fn ok(dir: &Path, line: &str) -> String {
    let output = run(dir, line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
pub(crate) fn fails(dir: &Path, line: &str, message: &str) {
    let output = run(dir, line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
    assert!(
        stderr.starts_with("Error: ") && stderr.contains(message),
        "{line}: {stderr}"
    );
    assert!(!stderr.contains("AGE-SECRET-KEY"), "{line}: {stderr}");
}

pub(crate) fn quickstart() -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("litestream.yml"), YML).expect("write");
    ok(dir.path(), "keygen -o age_key.txt");
    ok(dir.path(), "-dbpath app.db app create");
    ok(dir.path(), SAVE);
    dir
}

/// A command that goes on until a signal ends it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

/// Starts the command line without waiting for its end.
pub(crate) fn spawn(dir: &Path, line: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .expect("lockkeeper starts");
    let stdout = child.stdout.take().expect("a pipe");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Running { child, lines }
}

impl Running {
    /// Waits for a line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            if line.expect("it says so").contains(text) {
                return;
            }
        }
    }

    /// Sends a signal and expects an orderly end.
    #[track_caller]
    pub(crate) fn end(mut self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill runs").success());
        let ended = self.child.wait().expect("it ends");
        assert_eq!(ended.code(), Some(0), "{signal}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
