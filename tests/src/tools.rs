//! Programs that tests compare lockkeeper with, which `.ci/setup` installs.

use std::path::{Path, PathBuf};

/// Finds a file or folder of the tools. Without it the test says so and is skipped, but not where
/// `CI` is `true`: there it fails.
#[must_use]
pub fn tool(path: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("LOCKKEEPER_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools"),
        PathBuf::from,
    );
    let found = tools.join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("{path} is not in {}", tools.display()))
}

/// Finds a program of the system. Without it the test is skipped or fails, as with [`tool`].
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.or_else(|| skip(&format!("there is no program {name}")))
}

fn skip(missing: &str) -> Option<PathBuf> {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "{missing}: run .ci/setup"
    );
    eprintln!("skipped: {missing}; .ci/setup installs it");
    None
}
