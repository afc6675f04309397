//! Replicating and restoring, as a user types it.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use support::{fails, ok, quickstart, run};

mod support;

const REPLICATE: &str = "-dbpath app.db replicate -once";
const RESTORE: &str = "-dbpath app.db restore -o restored.db ./app.db";

fn open(dir: &Path) -> Connection {
    let app = Connection::open(dir.join("app.db")).expect("open");
    app.execute_batch("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text)")
        .expect("create");
    app
}

fn insert(app: &Connection, text: &str) {
    app.execute("INSERT INTO notes (text) VALUES (?1)", [text])
        .expect("insert");
}

fn notes(path: &Path) -> i64 {
    let db = Connection::open(path).expect("open");
    db.query_row("SELECT COUNT(*) FROM notes", [], |row| row.get(0))
        .expect("count")
}

fn json(dir: &Path, line: &str) -> Value {
    serde_json::from_str(&ok(dir, line)).expect("JSON")
}

#[test]
fn what_replicate_sent_is_restored_by_path_by_url_and_from_a_file() {
    let dir = quickstart();
    let app = open(dir.path());
    insert(&app, "one");
    ok(dir.path(), REPLICATE);
    ok(dir.path(), RESTORE);
    assert_eq!(notes(&dir.path().join("restored.db")), 1);
    insert(&app, "two");
    ok(dir.path(), "replicate -once -config litestream.yml");
    ok(
        dir.path(),
        "restore -o b.db -config litestream.yml ./app.db",
    );
    assert_eq!(notes(&dir.path().join("b.db")), 2);
    let url = format!("file://{}/litestream-replicas", dir.path().display());
    ok(dir.path(), &format!("restore -o c.db {url}"));
    assert_eq!(notes(&dir.path().join("c.db")), 2);
    ok(dir.path(), "restore -o d.db -config litestream.yml");
    assert_eq!(notes(&dir.path().join("d.db")), 2);
}

#[test]
fn the_doctor_tries_out_the_store_of_a_replica() {
    let dir = quickstart();
    let said = ok(dir.path(), "doctor -config litestream.yml");
    for name in [
        "list",
        "put",
        "get",
        "range",
        "conditional put",
        "time",
        "clock",
        "delete",
    ] {
        assert!(said.contains(&format!("ok       {name}\n")), "{said}");
    }
    // Nobody listens there.
    let config = "dbs: [{path: app.db, replica: {type: s3, bucket: b, path: p, \
                  endpoint: 'http://127.0.0.1:9', access-key-id: a, secret-access-key: b}}]";
    fs::write(dir.path().join("s3.yml"), config).expect("write");
    fails(dir.path(), "doctor -config s3.yml", "2 of 8 checks failed");
}

#[test]
fn an_older_transaction_and_a_time_are_restored() {
    let dir = quickstart();
    let app = open(dir.path());
    insert(&app, "one");
    ok(dir.path(), REPLICATE);
    let before = json(dir.path(), "-dbpath app.db ltx -json");
    let last = before
        .as_array()
        .and_then(|files| files.last())
        .expect("a file");
    let (txid, time) = (&last["max_txid"], &last["timestamp"]);
    insert(&app, "two");
    ok(dir.path(), REPLICATE);
    let by_txid = format!("{RESTORE} -txid {}", txid.as_str().expect("text"));
    ok(dir.path(), &by_txid);
    assert_eq!(notes(&dir.path().join("restored.db")), 1);
    let at: jiff::Timestamp = time.as_str().expect("text").parse().expect("a time");
    let just_after = at + jiff::SignedDuration::from_millis(1);
    ok(
        dir.path(),
        &format!("-dbpath app.db restore -o t.db -timestamp {just_after} app.db"),
    );
    assert_eq!(notes(&dir.path().join("t.db")), 1);
    fails(
        dir.path(),
        "-dbpath app.db restore -o x.db -txid 1 app.db",
        "16 hexadecimal digits",
    );
    fails(
        dir.path(),
        "-dbpath app.db restore -o x.db -txid 00000000000000ff app.db",
        "no matching backup files available",
    );
    assert!(!dir.path().join("x.db").exists());
}

#[test]
fn restore_never_trusts_leftovers_and_force_moves_them_aside() {
    let dir = quickstart();
    insert(&open(dir.path()), "one");
    ok(dir.path(), REPLICATE);
    fs::write(dir.path().join("restored.db-wal"), "stale").expect("write");
    fails(dir.path(), RESTORE, "restored.db-wal already exists");
    ok(dir.path(), &format!("{RESTORE} -force"));
    assert!(!dir.path().join("restored.db-wal").exists());
    fails(dir.path(), RESTORE, "restored.db already exists");
    ok(dir.path(), &format!("{RESTORE} -if-db-not-exists"));
    std::os::unix::fs::symlink("victim", dir.path().join("link.db")).expect("link");
    fails(
        dir.path(),
        "-dbpath app.db restore -force -o link.db app.db",
        "not a regular file",
    );
    assert!(!dir.path().join("victim").exists());
}

#[test]
fn an_empty_replica_is_an_error_unless_it_may_be_missing() {
    let dir = quickstart();
    fails(dir.path(), RESTORE, "no matching backup files available");
    ok(dir.path(), &format!("{RESTORE} -if-replica-exists"));
    assert!(!dir.path().join("restored.db").exists());
    fails(
        dir.path(),
        "-dbpath app.db restore -o x.db other.db",
        "database not found in config",
    );
    fails(
        dir.path(),
        "restore -o x.db gcs://bucket/path",
        "did you mean `gs`?",
    );
    fails(dir.path(), "restore file:///nowhere", "give -o FILE");
}

#[test]
fn a_dry_run_and_json_say_what_would_be_and_was_done() {
    let dir = quickstart();
    insert(&open(dir.path()), "one");
    ok(dir.path(), REPLICATE);
    let plan = json(dir.path(), &format!("{RESTORE} -dry-run -json"));
    assert_eq!(plan["min_txid"], "0000000000000001");
    assert!(!dir.path().join("restored.db").exists());
    assert!(ok(dir.path(), &format!("{RESTORE} -dry-run")).contains("Restore plan:"));
    let done = json(
        dir.path(),
        &format!("{RESTORE} -json -integrity-check full"),
    );
    assert_eq!(done["txid"], plan["max_txid"]);
    assert_eq!(done["integrity_check"], "full");
}

#[test]
fn a_configuration_that_is_not_valid_is_not_saved_and_every_problem_is_named() {
    let dir = quickstart();
    let bad = "dbs:\n  - path: app.db\n    replica:\n      pth: $HOME/b # ${X}\n      type: gcs\n";
    fs::write(dir.path().join("bad.yml"), bad).expect("write");
    let output = run(
        dir.path(),
        "-dbpath app.db config save -scope litestream bad.yml",
    );
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for expected in [
        "bad.yml was not saved",
        "4:7: error: dbs[0].replica.pth",
        "did you mean `path`?",
        "4:12: error",
        "4:22: error",
        "write `$$`",
        "did you mean `gs`?",
    ] {
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
    assert_eq!(
        ok(dir.path(), "-dbpath app.db list litestream")
            .lines()
            .count(),
        2
    );
    let good = "exec: myapp\naddr: ':9090'\nmcp-addr: ':3001'\ndbs:\n  - path: app.db\n    \
                replica: {path: b}\n";
    fs::write(dir.path().join("good.yml"), good).expect("write");
    let output = run(
        dir.path(),
        "-dbpath app.db config save -scope litestream good.yml",
    );
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for key in ["exec", "addr", "mcp-addr"] {
        assert!(
            stderr.contains(&format!("warning: {key}: ")),
            "{key}: {stderr}"
        );
    }
    assert_eq!(
        stderr
            .matches("not supported in an embedded replicator")
            .count(),
        3
    );
}

/// A component of the first contract.
const OLD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../src/policy/tests/data/policy-0.1.0.wasm"
);

#[test]
fn inspect_shows_the_built_in_policy_and_refuses_what_is_none() {
    let dir = quickstart();
    let shown = json(dir.path(), "policy inspect -json");
    assert_eq!(shown["name"], "lockkeeper-policy");
    assert_eq!(shown["sha256"].as_str().map(str::len), Some(64));
    let text = ok(dir.path(), "policy inspect");
    assert!(text.contains("plan-sync"), "{text}");
    let contract = include_str!("../../../wit/policy.wit")
        .lines()
        .find_map(|line| line.strip_prefix("package lockkeeper:policy@"));
    let contract = contract.expect("its number").trim_end_matches(';');
    assert_eq!(shown["contract"], contract);
    assert!(text.contains(&format!("contract  {contract}\n")), "{text}");
    let old = ok(dir.path(), &format!("policy inspect {OLD}"));
    assert!(old.contains("contract  0.1.0\n"), "{old}");
    fs::write(dir.path().join("bad.wasm"), "nonsense").expect("write");
    fails(dir.path(), "policy inspect bad.wasm", "bad.wasm");
    fails(
        dir.path(),
        "-dbpath app.db replicate -once -policy bad.wasm",
        "bad.wasm",
    );
}

#[test]
fn a_signal_flushes_and_ends_with_0() {
    let dir = quickstart();
    let app = open(dir.path());
    for (count, signal) in [(1, "INT"), (2, "TERM"), (3, "QUIT")] {
        let child = support::spawn(dir.path(), "-dbpath app.db replicate");
        child.wait_for("everything has started");
        insert(&app, signal);
        child.end(signal);
        let output = format!("{signal}.db");
        ok(
            dir.path(),
            &format!("-dbpath app.db restore -o {output} app.db"),
        );
        assert_eq!(notes(&dir.path().join(output)), count, "{signal}");
    }
}

#[test]
fn a_followed_database_gets_what_the_replica_gets_and_goes_on_after_a_restart() {
    let dir = quickstart();
    let app = open(dir.path());
    let line = "-dbpath app.db restore -f -follow-interval 20ms -o copy.db app.db";
    for count in 1..=3 {
        insert(&app, "one more");
        ok(dir.path(), REPLICATE);
        let child = support::spawn(dir.path(), line);
        while !dir.path().join("copy.db").exists() || notes(&dir.path().join("copy.db")) < count {
            std::thread::yield_now();
        }
        child.end("TERM");
    }
}
