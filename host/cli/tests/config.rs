//! The configuration commands, as a user types them.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use support::{DUMP, SAVE, YML, fails, ok, quickstart};

mod support;

#[test]
fn quickstart_saves_encrypted_and_dumps_the_same_bytes() {
    let dir = quickstart();
    assert_eq!(ok(dir.path(), DUMP), YML);
    let bytes = fs::read(dir.path().join("app.db")).expect("read");
    assert!(!bytes.windows(19).any(|part| part == b"litestream-replicas"));
    assert_eq!(
        ok(dir.path(), "-dbpath app.db scopes"),
        "application\nlitestream\n"
    );
    let values = ok(dir.path(), "-dbpath app.db get -scope litestream replica");
    assert_eq!(values, "dbs[0].replica.path = ./litestream-replicas\n");
    fails(dir.path(), "-dbpath app.db app create", "already exists");
}

#[test]
fn history_diff_and_rollback_keep_order_within_a_second() {
    let dir = quickstart();
    let other = YML.replace("./litestream-replicas", "./other");
    fs::write(dir.path().join("litestream.yml"), &other).expect("write");
    ok(dir.path(), SAVE);
    assert_eq!(ok(dir.path(), DUMP), other);
    assert!(
        ok(dir.path(), "-dbpath app.db diff -scope litestream 1").contains("+      path: ./other")
    );
    ok(
        dir.path(),
        "-dbpath app.db config rollback -scope litestream 1",
    );
    assert_eq!(ok(dir.path(), DUMP), YML);
    assert_eq!(
        ok(dir.path(), "-dbpath app.db list litestream")
            .lines()
            .count(),
        4
    );
}

#[test]
fn a_rotated_key_opens_old_generations_and_a_strange_key_none() {
    let dir = quickstart();
    ok(dir.path(), "keygen -o new.txt");
    fails(
        dir.path(),
        "-age-key new.txt -dbpath app.db dump",
        "none of the identities in new.txt",
    );
    let new = fs::read_to_string(dir.path().join("new.txt")).expect("read");
    let old = fs::read_to_string(dir.path().join("age_key.txt")).expect("read");
    fs::write(dir.path().join("age_key.txt"), new + &old).expect("write");
    assert_eq!(ok(dir.path(), DUMP), YML);
    ok(dir.path(), SAVE);
    ok(
        dir.path(),
        "-age-key new.txt -dbpath app.db dump -scope litestream",
    );
}

#[test]
fn unsafe_key_files_are_refused_unless_overridden() {
    let dir = quickstart();
    let key = dir.path().join("age_key.txt");
    symlink("age_key.txt", dir.path().join("link")).expect("link");
    fails(
        dir.path(),
        "-age-key link -dbpath app.db dump",
        "symbolic link",
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    fails(dir.path(), "-dbpath app.db dump", "chmod 600 age_key.txt");
    ok(dir.path(), "-insecure-key-file -dbpath app.db dump");
    assert!(
        Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status()
            .expect("run")
            .success()
    );
    fails(
        dir.path(),
        "-age-key pipe -dbpath app.db dump",
        "not a regular file",
    );
}

#[test]
fn mistakes_exit_with_1_and_leave_nothing_behind() {
    let dir = quickstart();
    fs::write(dir.path().join("bad"), "AGE-SECRET-KEY-1XYZ\n").expect("write");
    fs::set_permissions(dir.path().join("bad"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fails(
        dir.path(),
        "-age-key bad -dbpath new.db app create",
        "line 1",
    );
    assert!(!dir.path().join("new.db").exists());
    fails(
        dir.path(),
        "-dbpath app.db dump -scope x",
        "no configuration for scope 'x' in app.db",
    );
    let toml = "-dbpath app.db save -scope litestream -format toml litestream.yml";
    fails(dir.path(), toml, "expected 'yaml' or 'yml', found 'toml'");
    fails(dir.path(), "-nonsense", "unexpected argument");
    fails(dir.path(), "keygen -o age_key.txt", "already exists");
    ok(dir.path(), "-h");
}
