//! The first command of the README.

use std::process::Command;

#[test]
fn it_brings_every_message_back_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("200 of 200 messages are there"), "{stdout}");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
}

#[test]
fn with_keep_the_files_stay_where_it_says() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .arg("--keep")
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let (_, place) = stdout.split_once("The files are in ").unwrap();
    let place = std::path::Path::new(place.trim());
    assert!(place.join("app.db").is_file());
    assert!(place.join("litestream-replicas/ltx/0").is_dir());
}
