//! B: the way of the seed's README up to a stored configuration, and what it does to the database.

use std::fs;
use std::path::Path;
use std::process::Command;

use lockkeeper_tests::tools::program;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::column;
use crate::support::{DUMP, SAVE, YML, fails, ok, quickstart};

/// The encrypted newest configuration of the scope `litestream`.
fn blob(database: &Path) -> Vec<u8> {
    let connection = Connection::open(database).expect("a database");
    let sql = "SELECT content FROM app_config WHERE scope = 'litestream' ORDER BY id DESC LIMIT 1";
    connection
        .query_row(sql, [], |row| row.get(0))
        .expect("a configuration")
}

fn descriptions(dir: &Path) -> Vec<String> {
    let listed = ok(dir, "-dbpath app.db list litestream");
    let rows = listed.lines().skip(1);
    rows.map(|row| row.split_whitespace().skip(5).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn b0_app_create_makes_the_tables_of_the_seed_and_one_configuration() {
    let dir = tempfile::tempdir().expect("temp dir");
    ok(dir.path(), "keygen -o age_key.txt");
    ok(dir.path(), "-dbpath app.db app create");
    let database = dir.path().join("app.db");
    let tables = column(
        &database,
        "SELECT name FROM sqlite_schema WHERE type = 'table'",
    );
    for table in ["app_config", "job_queue", "users", "logs"] {
        assert!(tables.iter().any(|name| name == table), "{tables:?}");
    }
    assert_eq!(column(&database, "PRAGMA journal_mode"), ["wal"]);
    let rows = column(&database, "SELECT scope || ' ' || format FROM app_config");
    assert_eq!(rows, ["application toml"]);
    let before = fs::read(&database).expect("read");
    fails(dir.path(), "-dbpath app.db app create", "already exists");
    assert_eq!(fs::read(&database).expect("read"), before);
}

#[test]
fn b0_without_a_good_key_no_database_is_left_behind() {
    let dir = tempfile::tempdir().expect("temp dir");
    fails(dir.path(), "-dbpath app.db app create", "no age key");
    fs::write(dir.path().join("age_key.txt"), "").expect("write");
    fails(dir.path(), "-dbpath app.db app create", "age_key.txt");
    let left = fs::read_dir(dir.path()).expect("a folder");
    let left: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["age_key.txt"]);
}

#[test]
fn b0b_log_init_makes_the_log_where_the_configuration_says_and_may_be_repeated() {
    let dir = quickstart();
    for _ in 0..2 {
        ok(dir.path(), "-dbpath app.db log init");
        let tables = column(
            &dir.path().join("logs.db"),
            "SELECT name FROM sqlite_schema",
        );
        assert!(tables.iter().any(|name| name == "logs"), "{tables:?}");
    }
    ok(dir.path(), "-dbpath app.db set log.batch.db_path other.db");
    ok(dir.path(), "-dbpath app.db log init");
    assert!(dir.path().join("other.db").exists());
    ok(dir.path(), "-dbpath app.db set log.batch.db_path ./app.db");
    fails(
        dir.path(),
        "-dbpath app.db log init",
        "log.batch.db_path is",
    );
}

#[test]
fn b1_config_save_stores_the_text_encrypted_and_says_so() {
    let dir = quickstart();
    let output = crate::support::run(dir.path(), SAVE);
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "Successfully saved file 'litestream.yml' to scope 'litestream' in database";
    assert!(said.starts_with(expected), "{said}");
    let database = dir.path().join("app.db");
    let sql = "SELECT DISTINCT format || ' ' || description FROM app_config
        WHERE scope = 'litestream'";
    assert_eq!(
        column(&database, sql),
        ["yml Inserted from file: litestream.yml"]
    );
    for name in ["app.db", "app.db-wal"] {
        let bytes = fs::read(dir.path().join(name)).unwrap_or_default();
        assert!(
            !bytes.windows(19).any(|part| part == b"litestream-replicas"),
            "{name}"
        );
    }
}

#[test]
fn b1_the_age_tool_opens_what_was_saved() {
    let Some(age) = program("age") else {
        return;
    };
    let dir = quickstart();
    fs::write(dir.path().join("blob"), blob(&dir.path().join("app.db"))).expect("write");
    let output = Command::new(age)
        .args(["-d", "-i", "age_key.txt", "blob"])
        .current_dir(dir.path())
        .output()
        .expect("age runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), YML, "{output:?}");
}

#[test]
fn b1_what_the_age_tools_made_is_read() {
    let (Some(age), Some(keygen)) = (program("age"), program("age-keygen")) else {
        return;
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let run = |command: &mut Command| {
        let output = command.current_dir(dir.path()).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    run(Command::new(&keygen).args(["-o", "age_key.txt"]));
    let recipient = run(Command::new(&keygen).args(["-y", "age_key.txt"]));
    ok(dir.path(), "-dbpath app.db app create");
    fs::write(dir.path().join("litestream.yml"), YML).expect("write");
    let encrypt = ["-r", recipient.trim(), "-o", "blob", "litestream.yml"];
    run(Command::new(&age).args(encrypt));
    let content = Value::Blob(fs::read(dir.path().join("blob")).expect("a blob"));
    let connection = Connection::open(dir.path().join("app.db")).expect("a database");
    let sql = "INSERT INTO app_config (scope, content, format) VALUES ('litestream', ?1, 'yml')";
    connection.execute(sql, [content]).expect("inserted");
    assert_eq!(ok(dir.path(), DUMP), YML);
}

#[test]
fn b1b_dump_list_and_rollback_go_by_generation_within_one_second() {
    let dir = quickstart();
    let other = YML.replace("./litestream-replicas", "./other");
    fs::write(dir.path().join("second.yml"), &other).expect("write");
    ok(
        dir.path(),
        "-dbpath app.db save -scope litestream second.yml",
    );
    assert_eq!(ok(dir.path(), DUMP), other);
    let diff = ok(dir.path(), "-dbpath app.db diff -scope litestream 1");
    assert!(
        diff.contains("\n-      path: ./litestream-replicas\n"),
        "{diff}"
    );
    assert!(diff.contains("\n+      path: ./other\n"), "{diff}");
    ok(
        dir.path(),
        "-dbpath app.db config rollback -scope litestream 1",
    );
    assert_eq!(ok(dir.path(), DUMP), YML);
    assert_eq!(
        descriptions(dir.path()),
        [
            "Rollback to generation 1",
            "Inserted from file: second.yml",
            "Inserted from file: litestream.yml",
        ]
    );
    assert_eq!(
        ok(dir.path(), "-dbpath app.db scopes"),
        "application\nlitestream\n"
    );
}

#[test]
fn b1b_a_missing_scope_and_a_wrong_key_are_told_apart() {
    let dir = quickstart();
    let missing = "-dbpath app.db dump -scope x";
    fails(dir.path(), missing, "no configuration for scope 'x'");
    ok(dir.path(), "keygen -o other.txt");
    let strange = "-age-key other.txt -dbpath app.db dump";
    fails(dir.path(), strange, "none of the identities in other.txt");
}

#[test]
fn b1c_after_a_rotation_old_generations_open_and_new_ones_need_the_new_key_only() {
    let dir = quickstart();
    ok(dir.path(), "keygen -o new.txt");
    let key = dir.path().join("age_key.txt");
    let new = fs::read_to_string(dir.path().join("new.txt")).expect("read");
    let old = fs::read_to_string(&key).expect("read");
    fs::write(&key, new + &old).expect("write");
    assert_eq!(ok(dir.path(), DUMP), YML);
    ok(dir.path(), SAVE);
    let with_new = |line: &str| format!("-age-key new.txt -dbpath app.db {line}");
    assert_eq!(ok(dir.path(), &with_new("dump -scope litestream")), YML);
    ok(dir.path(), "-dbpath app.db diff -scope litestream 1");
    let old_one = with_new("diff -scope litestream 1");
    fails(dir.path(), &old_one, "none of the identities in new.txt");
}

#[test]
fn b1d_who_writes_to_the_database_without_the_key_cannot_change_the_configuration() {
    let dir = quickstart();
    let connection = Connection::open(dir.path().join("app.db")).expect("a database");
    let forged = "INSERT INTO app_config (scope, content, format)
        SELECT 'litestream', content, 'yml' FROM app_config WHERE scope = 'application'";
    connection.execute(forged, []).expect("inserted");
    for command in ["dump -scope litestream", "replicate -once"] {
        fails(
            dir.path(),
            &format!("-dbpath app.db {command}"),
            "has no seal",
        );
    }
    assert!(descriptions(dir.path()).len() == 2);
    let listed = ok(dir.path(), "-dbpath app.db list litestream");
    assert!(
        listed.lines().nth(1).expect("the newest").contains(" no "),
        "{listed}"
    );
    // Saving again is always possible to who has the key.
    ok(dir.path(), SAVE);
    assert_eq!(ok(dir.path(), DUMP), YML);
}

#[test]
fn b1d_a_configuration_without_a_seal_is_used_with_a_warning_until_it_is_sealed() {
    let dir = quickstart();
    let connection = Connection::open(dir.path().join("app.db")).expect("a database");
    connection
        .execute_batch("DROP TABLE lockkeeper_config_seals")
        .expect("dropped");
    fs::remove_file(dir.path().join(".app.db-config-seen")).expect("removed");
    let warns = |line: &str| {
        let output = crate::support::run(dir.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&all).contains("config reseal -scope litestream")
    };
    connection
        .execute_batch("CREATE TABLE t (x)")
        .expect("a table");
    for line in [DUMP, "-dbpath app.db replicate -once"] {
        assert!(warns(line), "{line}");
    }
    ok(dir.path(), "-dbpath app.db config reseal -scope litestream");
    assert!(!warns(DUMP));
}
