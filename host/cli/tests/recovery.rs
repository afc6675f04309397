//! Losing everything but a recovery kit and the replica.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;
use support::{DUMP, SAVE, YML, fails, ok, quickstart};

const WORDS: &str = "correct horse battery staple";

/// Runs a command that reads its passphrase from standard input.
fn with_words(dir: &Path, words: &str, line: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lockkeeper starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that fails before it asks has closed it.
    let _ = writeln!(stdin, "{words}");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn succeeds(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn guests(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).expect("a database");
    let mut statement = connection.prepare("SELECT name FROM guests ORDER BY name");
    let statement = statement.as_mut().expect("the table");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("names")
}

#[test]
fn with_the_kit_and_the_replica_alone_data_and_configuration_come_back() {
    let dir = quickstart();
    let app = Connection::open(dir.path().join("app.db")).expect("a database");
    app.execute_batch("CREATE TABLE guests (name); INSERT INTO guests VALUES ('Ada'), ('Grace')")
        .expect("a commit");
    ok(dir.path(), "-dbpath app.db replicate -once");
    let line = "-dbpath app.db recovery-kit export kit.age";
    succeeds(&with_words(dir.path(), WORDS, line));
    let mode = fs::metadata(dir.path().join("kit.age"))
        .expect("a kit")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    drop(app);

    let new = tempfile::tempdir().expect("temp dir");
    for kept in ["kit.age", "litestream-replicas"] {
        fs::rename(dir.path().join(kept), new.path().join(kept)).expect("moved");
    }
    dir.close().expect("everything else is gone");

    succeeds(&with_words(
        new.path(),
        WORDS,
        "recovery-kit import kit.age",
    ));
    for secret in ["age_key.txt", "litestream.yml"] {
        let mode = fs::metadata(new.path().join(secret))
            .expect(secret)
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{secret}");
    }
    ok(new.path(), "restore -config litestream.yml ./app.db");
    fs::remove_file(new.path().join("litestream.yml")).expect("removed");

    assert_eq!(guests(&new.path().join("app.db")), ["Ada", "Grace"]);
    assert_eq!(ok(new.path(), DUMP), YML);
    // And it goes on.
    ok(new.path(), "-dbpath app.db replicate -once");
    fs::write(new.path().join("litestream.yml"), YML).expect("write");
    ok(new.path(), SAVE);
}

#[test]
fn a_passphrase_comes_from_a_file_or_standard_input_and_never_from_the_command_line() {
    let dir = quickstart();
    fs::write(dir.path().join("words"), format!("{WORDS}\nmore\n")).expect("write");
    let from_file = "-dbpath app.db recovery-kit export -passphrase-file words kit.age";
    ok(dir.path(), from_file);
    fs::create_dir(dir.path().join("new")).expect("a folder");
    let import = "recovery-kit import -o new kit.age";
    succeeds(&with_words(dir.path(), WORDS, import));
    fails(
        dir.path(),
        "-dbpath app.db recovery-kit export -passphrase words other.age",
        "unexpected argument",
    );
}

#[test]
fn mistakes_are_told_and_leave_nothing_behind() {
    let dir = quickstart();
    let export = "-dbpath app.db recovery-kit export kit.age";
    for (words, message) in [("", "there is no passphrase"), ("short", "shorter than 12")] {
        let output = with_words(dir.path(), words, export);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(message), "{stderr}");
        assert!(!dir.path().join("kit.age").exists());
    }
    succeeds(&with_words(dir.path(), WORDS, export));
    let before = fs::read(dir.path().join("kit.age")).expect("a kit");
    let again = with_words(dir.path(), WORDS, export);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read(dir.path().join("kit.age")).expect("a kit"), before);
    for (words, message) in [
        ("wrong", "the passphrase does not open the recovery kit"),
        (WORDS, "age_key.txt already exists"),
    ] {
        let output = with_words(dir.path(), words, "recovery-kit import kit.age");
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(message), "{stderr}");
    }
    assert!(!dir.path().join("README.txt").exists());
}
