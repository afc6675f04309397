//! C: a database is lost and comes back, by the official binary and by ours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use lockkeeper_tests::litestream::{Litestream, NEWEST};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::column;
use crate::support::{self, DUMP, YML, fails, ok, quickstart};

const REPLICATE: &str = "-age-key age_key.txt -dbpath app.db replicate";
const RESTORE: &str = "restore -config litestream.yml";

/// A database with its configuration in it, which was replicated and is not there any more.
fn lost() -> TempDir {
    let dir = quickstart();
    let running = support::spawn(dir.path(), REPLICATE);
    running.wait_for("everything has started");
    insert(&dir.path().join("app.db"), &["first", "second"]);
    running.end("TERM");
    lose(dir.path());
    dir
}

/// Commits messages, as an application that comes and goes.
fn insert(database: &Path, messages: &[&str]) {
    let app = Connection::open(database).expect("a database");
    app.execute_batch("PRAGMA busy_timeout = 5000; CREATE TABLE IF NOT EXISTS t (x)")
        .expect("a table");
    for message in messages {
        app.execute("INSERT INTO t VALUES (?1)", [message])
            .expect("a commit");
    }
}

fn messages(database: &Path) -> Vec<String> {
    column(database, "SELECT x FROM t ORDER BY rowid")
}

/// What the scenario of the README removes.
fn lose(dir: &Path) {
    for name in ["app.db", "app.db-wal", "app.db-shm"] {
        let _ = fs::remove_file(dir.join(name));
    }
    fs::remove_dir_all(dir.join(".app.db-litestream")).expect("the state of the database");
}

/// Runs the official binary in a folder.
fn official(litestream: &Litestream, dir: &Path, line: &str) -> Output {
    let mut command = Command::new(litestream.binary());
    command
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear();
    command.output().expect("it runs")
}

#[track_caller]
fn official_ok(litestream: &Litestream, dir: &Path, line: &str) {
    let output = official(litestream, dir, line);
    assert!(output.status.success(), "{line}: {output:?}");
}

/// It is whole, has its configuration, and is replicated again.
#[track_caller]
fn assert_it_goes_on(dir: &Path) {
    let database = dir.join("app.db");
    assert_eq!(column(&database, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(messages(&database), ["first", "second"]);
    assert_eq!(ok(dir, DUMP), YML);
    let running = support::spawn(dir, REPLICATE);
    running.wait_for("everything has started");
    insert(&database, &["third"]);
    running.end("TERM");
    ok(dir, &format!("{RESTORE} -o again.db ./app.db"));
    assert_eq!(
        messages(&dir.join("again.db")),
        ["first", "second", "third"]
    );
}

#[test]
fn c1_the_official_binary_restores_a_lost_database_and_it_is_replicated_again() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let dir = lost();
    let line = "restore -o app.db -config litestream.yml ./app.db";
    official_ok(&litestream, dir.path(), line);
    assert_it_goes_on(dir.path());
}

#[test]
fn c2_a_lost_database_is_restored_and_replicated_again() {
    let dir = lost();
    ok(dir.path(), &format!("{RESTORE} -o app.db ./app.db"));
    assert_it_goes_on(dir.path());
}

#[test]
fn c2_a_restore_overwrites_nothing_and_does_nothing_where_that_is_wanted() {
    let dir = quickstart();
    let restore = format!("{RESTORE} -o restored.db ./app.db");
    fails(dir.path(), &restore, "no matching backup files available");
    ok(dir.path(), &format!("{restore} -if-replica-exists"));
    assert!(!dir.path().join("restored.db").exists());
    insert(&dir.path().join("app.db"), &["kept"]);
    ok(dir.path(), &format!("{REPLICATE} -once"));
    fs::write(dir.path().join("restored.db"), "in the way").expect("write");
    fails(dir.path(), &restore, "restored.db already exists");
    ok(dir.path(), &format!("{restore} -if-db-not-exists"));
    let left = fs::read(dir.path().join("restored.db")).expect("read");
    assert_eq!(left, b"in the way");
}

#[test]
fn c2_a_point_in_time_is_named_by_a_time_or_by_a_transaction_and_not_by_both() {
    let dir = quickstart();
    let database = dir.path().join("app.db");
    insert(&database, &["first"]);
    ok(dir.path(), &format!("{REPLICATE} -once"));
    let files = ok(dir.path(), "ltx -json -config litestream.yml ./app.db");
    let files: serde_json::Value = serde_json::from_str(&files).expect("JSON");
    let last = files.as_array().and_then(|files| files.last());
    let last = last.expect("a file");
    let txid = last["max_txid"].as_str().expect("a transaction");
    let time: jiff::Timestamp = last["timestamp"]
        .as_str()
        .and_then(|time| time.parse().ok())
        .expect("a time");
    let time = time + jiff::SignedDuration::from_millis(1);
    insert(&database, &["second"]);
    ok(dir.path(), &format!("{REPLICATE} -once"));
    for (name, point) in [
        ("a.db", format!("-txid {txid}")),
        ("b.db", format!("-timestamp {time}")),
    ] {
        ok(dir.path(), &format!("{RESTORE} -o {name} {point} ./app.db"));
        assert_eq!(messages(&dir.path().join(name)), ["first"], "{point}");
    }
    let both = format!("{RESTORE} -o c.db -txid {txid} -timestamp {time} ./app.db");
    fails(dir.path(), &both, "cannot be used with");
    let none = format!("{RESTORE} -o c.db -txid 00000000000000ff ./app.db");
    fails(dir.path(), &none, "no matching backup files available");
    assert!(!dir.path().join("c.db").exists());
}

#[test]
fn c2_a_path_means_the_same_from_every_folder() {
    let dir = lost();
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let config = dir.path().join("litestream.yml");
    let config = fs::read_to_string(&config)
        .expect("read")
        .replace("./", &format!("{}/", dir.path().display()));
    fs::write(elsewhere.join("litestream.yml"), config).expect("write");
    let by = |path: &str| format!("{RESTORE} -o restored.db {path}");
    let named = elsewhere.join("app.db").display().to_string();
    let message = format!("database not found in config: {named}");
    fails(&elsewhere, &by("./app.db"), &message);
    ok(&elsewhere, &by("../app.db"));
    assert_eq!(
        messages(&elsewhere.join("restored.db")),
        ["first", "second"]
    );
}

/// Two databases in a directory, and what replicates them.
fn directory(more: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::create_dir_all(dir.path().join("data/deep")).expect("a folder");
    let config =
        format!("dbs:\n  - {{dir: ./data/, {more} replica: {{path: ./litestream-replicas}}}}\n");
    fs::write(dir.path().join("litestream.yml"), config).expect("write");
    for name in ["customer1", "customer2"] {
        insert(&dir.path().join(format!("data/{name}.db")), &[name]);
    }
    dir
}

#[test]
fn c3_one_database_of_a_directory_is_restored_by_its_path() {
    let dir = directory("pattern: '*.db',");
    ok(dir.path(), "replicate -once -config litestream.yml");
    fs::remove_dir_all(dir.path().join("data")).expect("lost");
    let restore = format!("{RESTORE} -o customer1.restored.db");
    for strange in ["./customer1.db", "./data/customer1.txt", "./data/deep/a.db"] {
        let line = format!("{restore} {strange}");
        fails(dir.path(), &line, "database not found in config: /");
    }
    ok(dir.path(), &format!("{restore} ./data/customer1.db"));
    let restored = dir.path().join("customer1.restored.db");
    assert_eq!(messages(&restored), ["customer1"]);
}

#[test]
fn c3_the_official_binary_restores_one_database_of_a_directory_by_its_url() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    let dir = directory("pattern: '*.db',");
    ok(dir.path(), "replicate -once -config litestream.yml");
    let url = dir.path().join("litestream-replicas/customer1.db");
    let line = format!("restore -o customer1.restored.db file://{}", url.display());
    official_ok(&litestream, dir.path(), &line);
    let restored = dir.path().join("customer1.restored.db");
    assert_eq!(messages(&restored), ["customer1"]);
}

/// Whether there is a file of transactions below this place of the replica.
fn has_files(dir: &Path, relative: &str) -> bool {
    let folder = dir.join("litestream-replicas").join(relative).join("ltx/0");
    fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

#[test]
fn c4_databases_of_a_directory_come_and_go_while_it_is_watched() {
    let dir = directory("pattern: '*.db', recursive: true, watch: true,");
    insert(&dir.path().join("data/deep/inner.db"), &["inner"]);
    let running = support::spawn(dir.path(), "replicate -config litestream.yml");
    running.wait_for("everything has started");
    insert(&dir.path().join("data/deep/new.db"), &["new"]);
    running.wait_for("deep/new.db");
    fs::remove_file(dir.path().join("data/customer2.db")).expect("removed");
    running.wait_for("the database is gone");
    running.end("TERM");
    for name in [
        "customer1.db",
        "customer2.db",
        "deep/inner.db",
        "deep/new.db",
    ] {
        assert!(has_files(dir.path(), name), "{name}");
    }
    let line = format!("{RESTORE} -o new.db ./data/deep/new.db");
    ok(dir.path(), &line);
    assert_eq!(messages(&dir.path().join("new.db")), ["new"]);
}

#[test]
fn c4_folders_in_a_directory_are_looked_into_only_if_it_is_recursive() {
    for (recursive, inner) in [("true", true), ("false", false)] {
        let dir = directory(&format!("pattern: '*.db', recursive: {recursive},"));
        insert(&dir.path().join("data/deep/inner.db"), &["inner"]);
        ok(dir.path(), "replicate -once -config litestream.yml");
        assert!(has_files(dir.path(), "customer1.db"));
        assert_eq!(has_files(dir.path(), "deep/inner.db"), inner, "{recursive}");
    }
}

#[test]
fn c4_without_a_pattern_every_database_counts_and_it_is_said() {
    let dir = directory("");
    ok(dir.path(), "keygen -o age_key.txt");
    ok(dir.path(), "-dbpath app.db app create");
    let save = "-dbpath app.db config save -scope litestream litestream.yml";
    let output = support::run(dir.path(), save);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("pattern: \"*.db\""), "{said}");
    insert(&dir.path().join("data/other.sqlite"), &["other"]);
    fs::write(dir.path().join("data/notes.txt"), "no database").expect("write");
    ok(dir.path(), "replicate -once -config litestream.yml");
    assert!(has_files(dir.path(), "other.sqlite") && has_files(dir.path(), "customer1.db"));
    assert!(!dir.path().join("litestream-replicas/notes.txt").exists());
}

#[test]
fn c5_a_database_is_restored_by_the_configuration_of_one_that_survived() {
    let dir = quickstart();
    insert(&dir.path().join("app.db"), &["kept"]);
    ok(dir.path(), &format!("{REPLICATE} -once"));
    fs::rename(dir.path().join("app.db"), dir.path().join("old.db")).expect("rename");
    ok(dir.path(), "-dbpath old.db restore -o new.db ./app.db");
    assert_eq!(messages(&dir.path().join("new.db")), ["kept"]);
    let by_url = format!(
        "restore -o url.db file://{}/litestream-replicas",
        dir.path().display()
    );
    ok(dir.path(), &by_url);
    assert_eq!(messages(&dir.path().join("url.db")), ["kept"]);
    // The configuration came back with the data.
    let dump = DUMP.replace("app.db", "new.db");
    assert_eq!(ok(dir.path(), &dump), YML);
}

#[test]
fn c6_what_the_official_binary_wrote_is_restored_and_replicated_on() {
    let Some(litestream) = Litestream::find(NEWEST) else {
        return;
    };
    for keeps_state in [true, false] {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("litestream.yml"), YML).expect("write");
        let database = dir.path().join("app.db");
        let app = Connection::open(&database).expect("a database");
        app.execute_batch("PRAGMA journal_mode = wal").expect("wal");
        insert(&database, &["first", "second"]);
        let line = "replicate -once -config litestream.yml";
        official_ok(&litestream, dir.path(), line);
        drop(app);
        for name in ["app.db", "app.db-wal", "app.db-shm"] {
            let _ = fs::remove_file(dir.path().join(name));
        }
        if !keeps_state {
            let state = dir.path().join(".app.db-litestream");
            fs::remove_dir_all(state).expect("the state of the official binary");
        }
        ok(dir.path(), &format!("{RESTORE} -o app.db ./app.db"));
        assert_eq!(messages(&database), ["first", "second"]);
        for n in 3..=4 {
            insert(&database, &[&n.to_string()]);
            ok(dir.path(), line);
        }
        let all = ["first", "second", "3", "4"];
        ok(dir.path(), &format!("{RESTORE} -o ours.db ./app.db"));
        official_ok(
            &litestream,
            dir.path(),
            "restore -o theirs.db -config litestream.yml ./app.db",
        );
        for name in ["ours.db", "theirs.db"] {
            let restored = messages(&dir.path().join(name));
            assert_eq!(restored, all, "{name}, with state: {keeps_state}");
        }
    }
}
