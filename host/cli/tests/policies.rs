//! The policies in `examples/policies`: built, tested, and compared in a simulated time.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where the numbers stand in `examples/policies/README.md`.
const MARK: &str = "<!-- Written by the test `policies` with UPDATE_DOCS=1. -->";
/// The version that `.ci/setup` installs.
const COMPONENTIZE: &str = "componentize-js-0.23.0";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies")
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies")
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

fn cargo(arguments: &[&str]) {
    let mut cargo = Command::new("cargo");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let target = target();
    output(
        cargo
            .args(arguments)
            .args(["--quiet", "--locked"])
            .current_dir(examples())
            .env("CARGO_TARGET_DIR", target),
    );
}

/// The components that are written in Rust.
fn built() -> [PathBuf; 2] {
    cargo(&["build", "--release", "--target", "wasm32-wasip2"]);
    let release = target().join("wasm32-wasip2/release");
    ["thrifty.wasm", "guardian.wasm"].map(|name| release.join(name))
}

fn policy(action: &str, arguments: &[&str], files: &[PathBuf]) -> String {
    let mut lockkeeper = Command::new(env!("CARGO_BIN_EXE_lockkeeper"));
    output(
        lockkeeper
            .args(["policy", action])
            .args(arguments)
            .args(files),
    )
}

#[test]
fn those_in_rust_pass_their_tests_and_can_be_installed() {
    cargo(&["test"]);
    for file in built() {
        let checked = policy("check", &[], &[file]);
        assert!(checked.contains("can be installed"), "{checked}");
    }
}

#[test]
fn a_simulated_week_is_the_same_in_every_process_and_each_policy_does_what_it_is_for() {
    let files = built();
    let arguments = ["-days", "4", "-validation-interval", "48", "-json"];
    let simulated = policy("simulate", &arguments, &files);
    assert_eq!(simulated, policy("simulate", &arguments, &files));
    let reports: Value = serde_json::from_str(&simulated).expect("JSON");
    let number = |policy: usize, pointer: &str| {
        reports[policy]
            .pointer(pointer)
            .and_then(Value::as_u64)
            .expect("a number")
    };
    for policy in 0..3 {
        assert_eq!(number(policy, "/unrestorable_hours"), 0);
        assert_eq!(number(policy, "/failures"), 0);
    }
    let (default, thrifty, guardian) = (0, 1, 2);
    let puts = |policy| number(policy, "/requests/put");
    assert!(puts(thrifty) < puts(default) * 9 / 10, "{simulated}");
    let window = |policy| number(policy, "/window_ms");
    assert!(window(guardian) > window(default), "{simulated}");
    assert!(number(guardian, "/verifications") > number(default, "/verifications"));
}

#[test]
fn the_numbers_of_the_readme_are_those_of_a_simulation() {
    let table = policy("simulate", &["-days", "10"], &built());
    let numbers = format!("\n\nTen days of `lockkeeper policy simulate`:\n\n```text\n{table}```\n");
    let path = examples().join("README.md");
    let text = fs::read_to_string(&path).expect("a README");
    let (before, found) = text.split_once(MARK).expect("a place for the numbers");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{MARK}{numbers}")).expect("written");
        return;
    }
    assert_eq!(found, numbers, "run the test with UPDATE_DOCS=1");
}

#[test]
fn the_one_in_javascript_decides_as_the_contract_says() {
    let Some(tools) = lockkeeper_tests::tools::tool(COMPONENTIZE) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["policy.js", "build.mjs", "package.json"] {
        let from = examples().join("patient").join(name);
        fs::copy(from, dir.path().join(name)).expect("copied");
    }
    let modules = tools.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).expect("a link");
    let wit = dir.path().join("wit");
    fs::create_dir(&wit).expect("a folder");
    let contract = examples().join("../../wit/policy.wit");
    fs::copy(contract, wit.join("policy.wit")).expect("copied");
    let component = dir.path().join("patient.wasm");
    let mut node = Command::new("node");
    output(
        node.arg("build.mjs")
            .arg(&wit)
            .arg(&component)
            .current_dir(dir.path()),
    );
    let checked = policy("check", &[], &[component]);
    assert!(
        checked.contains("patient 0.1.0 can be installed"),
        "{checked}"
    );
}
