//! Builds the policy in `guest/` as a component and leaves it in `OUT_DIR/policy.wasm`.
//!
//! A nested cargo does it, so that `cargo build` on a fresh clone needs no step before.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "wasm32-wasip2";
/// A megabyte would be the default. What an instance may have touched is looked through after each
/// decision, and nothing here calls itself without a bound.
const STACK: &str = "link-arg=-zstack-size=262144";

/// What a wrapping cargo, clippy or coverage run sets for the host's code. In the nested build it
/// would lint the guest, or give it flags of another target.
const NOT_FOR_THE_GUEST: &[&str] = &[
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "LLVM_PROFILE_FILE",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["LOCKKEEPER_POLICY_WASM", "LOCKKEEPER_NO_RUSTUP"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let built = match env::var_os("LOCKKEEPER_POLICY_WASM") {
        Some(given) => {
            let given = PathBuf::from(given);
            println!("cargo::rerun-if-changed={}", given.display());
            given
        }
        // What is built is not watched: being newer than this run, it would cause the next.
        None => build(&out)?,
    };
    fs::copy(&built, out.join("policy.wasm"))
        .map_err(|error| format!("cannot copy {}: {error}", built.display()))?;
    Ok(())
}

fn build(out: &Path) -> Result<PathBuf, String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    for input in [
        "guest/src",
        "guest/Cargo.toml",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    ensure_target(&root)?;
    let target_dir = out.join("guest-target");
    let mut cargo = Command::new(variable("CARGO")?);
    for name in NOT_FOR_THE_GUEST {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(&root)
        // Present but empty, it outranks `build.rustflags` of a configuration file.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .args([
            "rustc",
            "--locked",
            "--package",
            "lockkeeper-policy",
            "--lib",
        ])
        // Here and not in the manifest: natively the guest is linked as a plain library.
        .args(["--crate-type", "cdylib"])
        .args(["--profile", "guest", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .args(["--", "-C", STACK])
        .status()
        .map_err(|error| format!("cannot run cargo for the policy component: {error}"))?;
    if !status.success() {
        return Err(format!("building the policy component failed: {status}"));
    }
    Ok(target_dir
        .join(TARGET)
        .join("guest")
        .join("lockkeeper_policy.wasm"))
}

/// Makes sure that the compiler has the standard library for [`TARGET`].
fn ensure_target(root: &Path) -> Result<(), String> {
    if has_target()? {
        return Ok(());
    }
    if env::var_os("LOCKKEEPER_NO_RUSTUP").is_none_or(|value| value != "1") {
        println!("cargo::warning=the target {TARGET} is missing; running rustup target add");
        let mut rustup = Command::new("rustup");
        rustup.current_dir(root).args(["target", "add", TARGET]);
        if rustup.status().is_ok_and(|status| status.success()) && has_target()? {
            return Ok(());
        }
    }
    Err(format!(
        "the Rust target {TARGET} is needed to build the policy component\n\
         run: rustup target add {TARGET}\n\
         or set LOCKKEEPER_POLICY_WASM to the path of a component that was built before"
    ))
}

fn has_target() -> Result<bool, String> {
    let output = Command::new(variable("RUSTC")?)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run rustc: {error}"))?;
    let directory = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(directory.trim()).is_dir())
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo does not set {name}"))
}
