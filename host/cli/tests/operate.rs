//! What an operator types while an application runs, and after it is lost.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use support::{Running, fails, ok, run};
use tempfile::TempDir;

mod support;

const CONFIG: &str = "socket: {enabled: true, path: control.sock}
dbs:
  - {path: app.db, replica: {path: backup/app}}
  - {dir: data, pattern: '*.db', replica: {path: backup/data}}
";
const RESTORE: &str = "restore -config litestream.yml -o customer1.restored.db";

/// One database by its path, and one in a directory.
fn fixture() -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::write(dir.path().join("litestream.yml"), CONFIG).expect("write");
    fs::create_dir(dir.path().join("data")).expect("a folder");
    for name in ["app.db", "data/customer1.db"] {
        let app = Connection::open(dir.path().join(name)).expect("open");
        app.execute_batch(
            "PRAGMA journal_mode = wal; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
        )
        .expect("write");
    }
    dir
}

fn replicate(dir: &Path) -> Running {
    let running = support::spawn(dir, "replicate -config litestream.yml");
    running.wait_for("listening for control commands");
    for name in ["app.db", "data/customer1.db"] {
        ok(dir, &format!("sync -wait -config litestream.yml {name}"));
    }
    running
}

fn json(dir: &Path, line: &str) -> Value {
    serde_json::from_str(&ok(dir, line)).expect("JSON")
}

/// The columns begin where the heads do, and nothing is coloured.
#[track_caller]
fn check_table(text: &str, heads: &[&str]) {
    assert!(!text.contains('\u{1b}'), "{text}");
    let mut lines = text.lines();
    let head = lines.next().expect("a head");
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), heads);
    for line in lines {
        for name in &heads[1..] {
            let at = head.find(&format!("  {name}")).expect("a column") + 2;
            let (before, cell) = line.split_at(at);
            assert!(before.ends_with("  ") && !cell.starts_with(' '), "{text}");
        }
    }
}

#[test]
fn a_database_of_a_directory_is_restored_by_each_of_its_paths() {
    let dir = fixture();
    ok(dir.path(), "replicate -once -config litestream.yml");
    fs::rename(dir.path().join("data"), dir.path().join("lost")).expect("rename");
    fs::create_dir(dir.path().join("data")).expect("a folder");
    std::os::unix::fs::symlink("data", dir.path().join("link")).expect("link");
    let absolute = dir.path().join("data/customer1.db").display().to_string();
    for name in [
        "./data/customer1.db",
        "data/customer1.db",
        &absolute,
        "sqlite://data/customer1.db",
        &format!("sqlite://{absolute}"),
        "link/customer1.db",
    ] {
        ok(dir.path(), &format!("{RESTORE} {name}"));
        let path = dir.path().join("customer1.restored.db");
        let db = Connection::open(&path).expect("open");
        let count = db.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(count.expect("count"), 1, "{name}");
        drop(db);
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("customer1.restored.db{end}")));
        }
        let files = json(
            dir.path(),
            &format!("ltx -json -config litestream.yml {name}"),
        );
        assert_eq!(files[0]["min_txid"], "0000000000000001", "{name}");
    }
    fails(
        dir.path(),
        &format!("{RESTORE} data/customer1.txt"),
        "database not found in config",
    );
}

#[test]
fn a_missing_database_is_not_restored_beside_the_log_of_the_lost_one() {
    let dir = fixture();
    ok(dir.path(), "replicate -once -config litestream.yml");
    fs::remove_file(dir.path().join("app.db")).expect("lose the database");
    for end in ["-wal", "-shm", "-journal"] {
        let leftover = dir.path().join(format!("app.db{end}"));
        for other in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(dir.path().join(format!("app.db{other}")));
        }
        fs::write(&leftover, "of the lost one").expect("leave it");
        fails(
            dir.path(),
            "replicate -once -restore-if-db-not-exists -config litestream.yml",
            &format!("app.db{end} already exists"),
        );
        assert!(!dir.path().join("app.db").exists());
    }
}

#[test]
fn databases_lists_what_is_in_directories_now() {
    let dir = fixture();
    fs::write(dir.path().join("data/notes.db"), "no database").expect("write");
    let found = json(dir.path(), "databases -json -config litestream.yml");
    let paths: Vec<_> = found
        .as_array()
        .expect("a list")
        .iter()
        .map(|at| (at["path"].clone(), at["url"].clone()))
        .collect();
    let expected = [
        ("app.db", "app"),
        ("data/customer1.db", "data/customer1.db"),
    ];
    let expected = expected.map(|(path, replica)| {
        let replica = dir.path().join("backup").join(replica);
        (
            Value::from(dir.path().join(path).display().to_string()),
            Value::from(format!("file://{}", replica.display())),
        )
    });
    assert_eq!(paths, expected);
    let text = ok(dir.path(), "databases -config litestream.yml");
    check_table(&text, &["path", "replica"]);
}

#[test]
fn a_running_process_is_asked_for_its_state_and_for_a_sync() {
    let dir = fixture();
    let running = replicate(dir.path());
    let socket = "-socket control.sock";
    let info = json(dir.path(), &format!("info -json {socket}"));
    assert_eq!(info["database_count"], 2);
    check_table(
        &ok(dir.path(), &format!("list {socket}")),
        &["path", "status", "last_sync"],
    );
    let app = Connection::open(dir.path().join("app.db")).expect("open");
    app.execute_batch("INSERT INTO t VALUES (2)")
        .expect("insert");
    let synced = json(dir.path(), &format!("sync -wait -json {socket} app.db"));
    assert_eq!(synced["txid"], synced["replica_txid"]);
    let status = json(
        dir.path(),
        "status -json -config litestream.yml sqlite://app.db",
    );
    let number = synced["txid"].as_u64().expect("a number");
    assert_eq!(status[0]["status"], "ok");
    assert_eq!(status[0]["running"]["durable"], format!("{number:016x}"));
    assert_eq!(status[0]["local_txid"], status[0]["running"]["spooled"]);
    assert!(status[0]["wal_bytes"].as_u64() > Some(0));
    let text = ok(dir.path(), "status -config litestream.yml");
    let (table, policy) = text.split_once("\npolicy ").expect("who decides");
    assert!(policy.starts_with("lockkeeper-policy "), "{text}");
    check_table(
        table,
        &[
            "database",
            "status",
            "local_txid",
            "wal_size",
            "durable",
            "snapshot",
            "last_sync",
        ],
    );
    fails(
        dir.path(),
        &format!("sync {socket} other.db"),
        "sync failed: database not found: ",
    );
    running.end("TERM");
    assert!(!dir.path().join("control.sock").exists());
}

#[test]
fn without_a_process_nothing_is_said_to_be_well() {
    let dir = fixture();
    let status = |line: &str| {
        let output = run(
            dir.path(),
            &format!("status -config litestream.yml -json {line}"),
        );
        assert_eq!(output.status.code(), Some(0));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (value[0]["status"].clone(), stderr)
    };
    assert_eq!(status("app.db").0, "not initialized");
    ok(dir.path(), "replicate -once -config litestream.yml");
    let (word, stderr) = status("app.db");
    assert_eq!(word, "unknown");
    assert!(
        stderr.starts_with("Note: failed to connect to control socket"),
        "{stderr}"
    );
    assert_eq!(status("data/gone.db").0, "no database");
    let socket = "-socket control.sock";
    for line in ["info", "list", "sync app.db"] {
        fails(
            dir.path(),
            &format!("{line} {socket}"),
            "failed to connect to control socket",
        );
    }
    fails(
        dir.path(),
        &format!("info {socket} -timeout 0"),
        "0 is not in 1..=3600",
    );
    let config = CONFIG.replace("enabled: true", "enabled: false");
    fs::write(dir.path().join("litestream.yml"), config).expect("write");
    fails(dir.path(), "info -config litestream.yml", "socket.enabled");
}

#[test]
fn a_scope_is_listed_from_a_database_and_not_from_a_process() {
    let dir = support::quickstart();
    assert!(ok(dir.path(), "-dbpath app.db list litestream").contains("litestream"));
    assert!(ok(dir.path(), "-dbpath app.db config list").contains("litestream"));
    fails(dir.path(), "list -socket x litestream", "give -dbpath");
}

/// The first JSON document after a heading of the documentation.
fn example(heading: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let text = fs::read_to_string(file).expect("the file is there");
    let (_, section) = text
        .split_once(&format!("### `{heading}`\n"))
        .expect("the heading is there");
    let (_, json) = section.split_once("```json\n").expect("an example");
    let (json, _) = json.split_once("```").expect("its end");
    serde_json::from_str(json).expect("it is JSON")
}

/// The same keys and types everywhere. `null` stands for any type, an empty list for any.
#[track_caller]
fn check_shape(at: &str, documented: &Value, real: &Value) {
    match (documented, real) {
        (Value::Object(documented), Value::Object(real)) => {
            let keys = |map: &serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = map.keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(documented), keys(real), "{at}");
            for (name, value) in documented {
                check_shape(&format!("{at}.{name}"), value, &real[name]);
            }
        }
        (Value::Array(documented), Value::Array(real)) => {
            if let Some(first) = documented.first() {
                assert!(!real.is_empty(), "{at}: nothing to compare with");
                for value in real {
                    check_shape(&format!("{at}[]"), first, value);
                }
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (documented, real) => assert_eq!(
            std::mem::discriminant(documented),
            std::mem::discriminant(real),
            "{at}: {documented} and {real}"
        ),
    }
}

#[test]
fn every_json_document_looks_as_the_documentation_shows_it() {
    let dir = fixture();
    let running = replicate(dir.path());
    let config = "-config litestream.yml";
    for (heading, operands) in [
        ("databases -json", config.into()),
        ("status -json", config.into()),
        ("info -json", config.into()),
        ("list -json", config.into()),
        ("sync -wait -json", format!("{config} app.db")),
        ("ltx -json", format!("{config} app.db")),
        ("restore -json", format!("{config} -o a.db app.db")),
        ("restore -dry-run -json", format!("{config} -o b.db app.db")),
        ("version -json", String::new()),
        ("policy inspect -json", String::new()),
    ] {
        let real = json(dir.path(), &format!("{heading} {operands}"));
        check_shape(heading, &example(heading), &real);
    }
    running.end("TERM");
    let heading = "reset -dry-run -json";
    let real = json(dir.path(), &format!("{heading} {config} app.db"));
    check_shape(heading, &example(heading), &real);
    // It replicates itself, so nobody else may.
    let heading = "verify -json";
    check_shape(
        heading,
        &example(heading),
        &json(dir.path(), &format!("{heading} {config}")),
    );
}

#[test]
fn a_process_that_replicates_verifies_when_it_is_asked() {
    let dir = fixture();
    let running = replicate(dir.path());
    for line in [
        "verify -config litestream.yml",
        "verify -config litestream.yml -socket control.sock",
    ] {
        let proven = ok(dir.path(), line);
        assert_eq!(proven.matches("restores to it").count(), 2, "{proven}");
    }
    let status = json(dir.path(), "status -json -config litestream.yml");
    for database in status.as_array().expect("databases") {
        assert!(database["running"]["verified"].is_string(), "{database}");
    }
    running.end("TERM");
}

#[test]
fn a_verification_proves_what_is_whole_and_names_what_is_not() {
    let dir = fixture();
    let config = "-config litestream.yml";
    let proven = ok(dir.path(), &format!("verify {config}"));
    assert_eq!(proven.matches("restores to it").count(), 2, "{proven}");
    // Without a snapshot one is made at the next start, and what is damaged here is not needed.
    let snapshots = dir.path().join("backup/app/ltx/9");
    let is_there = || fs::read_dir(&snapshots).is_ok_and(|mut files| files.next().is_some());
    for _ in 0..50 {
        if is_there() {
            break;
        }
        ok(dir.path(), &format!("verify {config} app.db"));
    }
    assert!(is_there(), "no snapshot was ever made");
    // All but the newest, by which replication knows its replica.
    for level in ["0", "9"] {
        let folder = dir.path().join("backup/app/ltx").join(level);
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let mut files: Vec<_> = entries.map(|it| it.expect("entry").path()).collect();
        files.sort();
        if level == "0" {
            files.pop();
        }
        for file in files {
            let mut bytes = fs::read(&file).expect("read");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).expect("write");
        }
    }
    fails(
        dir.path(),
        &format!("verify {config} app.db"),
        "1 of 1 replicas are not proven",
    );
}

#[test]
fn a_reset_deletes_local_state_of_what_nobody_replicates_and_replication_goes_on() {
    let dir = fixture();
    let (config, local) = (
        "-config litestream.yml",
        dir.path().join(".app.db-litestream/ltx/0"),
    );
    let count = || fs::read_dir(&local).expect("list").count();
    let running = replicate(dir.path());
    fails(
        dir.path(),
        &format!("reset {config} app.db"),
        "is used by the process with pid",
    );
    running.end("TERM");
    let before = count();
    assert!(before > 0);
    ok(dir.path(), &format!("reset -dry-run {config} app.db"));
    assert_eq!(count(), before);
    ok(dir.path(), &format!("reset {config} app.db"));
    assert_eq!(count(), 0);
    let app = Connection::open(dir.path().join("app.db")).expect("open");
    app.execute("INSERT INTO t VALUES (2)", []).expect("insert");
    ok(dir.path(), &format!("replicate -once {config}"));
    ok(
        dir.path(),
        &format!("restore {config} -o restored.db app.db"),
    );
    let restored = Connection::open(dir.path().join("restored.db")).expect("open");
    let rows: i64 = restored
        .query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0))
        .expect("count");
    assert_eq!(rows, 2);
    fails(dir.path(), &format!("reset {config} other.db"), "other.db");
}

#[test]
fn a_single_run_takes_a_snapshot_and_enforces_retention_when_it_is_told_to() {
    let dir = fixture();
    let config = fs::read_to_string(dir.path().join("litestream.yml")).expect("read");
    let config =
        format!("snapshot: {{interval: 24h, retention: 10m}}\nl0-retention: 10m\n{config}");
    fs::write(dir.path().join("litestream.yml"), config).expect("write");
    let once = "replicate -once -config litestream.yml";
    let count = |level: u32| {
        let folder = dir.path().join(format!("backup/app/ltx/{level}"));
        fs::read_dir(folder).map_or(0, Iterator::count)
    };
    for expected in 1..=3 {
        let app = Connection::open(dir.path().join("app.db")).expect("open");
        app.execute("INSERT INTO t VALUES (2)", []).expect("insert");
        ok(dir.path(), &format!("{once} -force-snapshot"));
        assert_eq!(count(9), expected);
    }
    // Young files are kept whatever is configured, and what leads to them.
    let sorted = |level: u32| {
        let files = fs::read_dir(dir.path().join(format!("backup/app/ltx/{level}")));
        let mut files: Vec<_> = files
            .expect("list")
            .map(|it| it.expect("entry").path())
            .collect();
        files.sort();
        files
    };
    let grow_old = |file: &Path, hours: u64| {
        let file = fs::File::options().append(true).open(file).expect("open");
        let age = std::time::Duration::from_secs(hours * 60 * 60);
        let time = std::time::SystemTime::now() - age;
        file.set_modified(time).expect("set the time");
    };
    for (file, hours) in sorted(9).iter().zip([3, 2, 1]) {
        grow_old(file, hours);
    }
    let files = sorted(0);
    files
        .iter()
        .rev()
        .skip(1)
        .for_each(|file| grow_old(file, 4));
    ok(dir.path(), &format!("{once} -enforce-retention"));
    assert!(count(9) < 3, "{} snapshots are left", count(9));
    ok(
        dir.path(),
        "restore -config litestream.yml -o restored.db app.db",
    );
    fails(
        dir.path(),
        "replicate -force-snapshot -config litestream.yml",
        "-once",
    );
}

#[test]
fn an_answer_that_nobody_reads_ends_without_a_word() {
    let dir = fixture();
    ok(dir.path(), "replicate -once -config litestream.yml");
    let lines = [
        "ltx -config litestream.yml app.db",
        "status -config litestream.yml",
        "databases -config litestream.yml",
        "policy inspect",
        "policy inspect -json",
        "policy new mine",
        "version",
    ];
    for line in lines {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = support::command(dir.path(), line)
            .stdout(writer)
            .output()
            .expect("run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
        assert!(!stderr.contains("Error"), "{line}: {stderr}");
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
    }
}
