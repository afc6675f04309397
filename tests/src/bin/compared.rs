//! Stages every hazard for both programs, and writes `docs/compared.md`.
#![expect(clippy::expect_used, reason = "what cannot be staged cannot be told")]

use std::path::{Path, PathBuf};

use lockkeeper_tests::compared::page::{self, Row};
use lockkeeper_tests::compared::{HAZARDS, Program, Scale};

/// Takes the binary of lockkeeper, or the one that lies beside this one.
fn main() {
    let binary = std::env::args_os()
        .nth(1)
        .map_or_else(beside, PathBuf::from);
    assert!(binary.exists(), "{} is not there", binary.display());
    let lockkeeper = Program::lockkeeper(&binary);
    let litestream = Program::litestream().expect("the official binary");
    let rows = HAZARDS.map(|hazard| {
        let observe = |program: &Program| {
            let finding = hazard.observe(program, Scale::Full);
            eprintln!("{}\n  {program}: {}", hazard.promise, finding.words);
            finding
        };
        Row {
            hazard,
            litestream: observe(&litestream),
            lockkeeper: observe(&lockkeeper),
        }
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compared.md");
    std::fs::write(&path, page::write(&rows)).expect("write the page");
}

fn beside() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this binary");
    this.with_file_name("lockkeeper")
}
