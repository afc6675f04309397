//! D: what a configuration may say, and who hears about it.

use std::fs;
use std::path::Path;

use crate::run_with;
use crate::support::{YML, fails, ok, quickstart, run};

const SAVE: &str = "-dbpath app.db config save -scope litestream new.yml";

fn write(dir: &Path, text: &str) {
    fs::write(dir.join("new.yml"), text).expect("write");
}

/// Saves a configuration that is accepted; returns what is said about it.
#[track_caller]
fn saved(dir: &Path, text: &str) -> String {
    write(dir, text);
    let output = run(dir, SAVE);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}: {stderr}");
    stderr
}

#[test]
fn d1_environment_syntax_is_refused_with_its_line_wherever_it_stands() {
    let dir = quickstart();
    for (text, line, quoted) in [
        (
            "dbs:\n  - path: $HOME/app.db\n    replica: {path: r}\n",
            2,
            "$HOME",
        ),
        (
            "dbs:\n  - path: app.db\n    replica: {path: '${BUCKET}'}\n",
            3,
            "${BUCKET}",
        ),
        (
            "dbs:\n  - path: app.db # or $HOME\n    replica: {path: r}\n",
            2,
            "$HOME",
        ),
        (
            "# set ${BUCKET}\ndbs:\n  - path: app.db\n    replica: {path: r}\n",
            1,
            "${BUCKET}",
        ),
    ] {
        write(dir.path(), text);
        fails(dir.path(), SAVE, quoted);
        fails(dir.path(), SAVE, &format!("\n  {line}:"));
    }
    saved(
        dir.path(),
        "dbs:\n  - path: app.db\n    replica: {path: 'a$$b'}\n",
    );
}

#[test]
fn d2_what_does_not_work_inside_an_application_is_named_and_the_rest_is_saved() {
    let dir = quickstart();
    for key in ["exec: ./run", "mcp-addr: ':3001'", "addr: ':9090'"] {
        let name = key.split(':').next().expect("a name");
        let said = saved(dir.path(), &format!("{key}\n{YML}"));
        assert!(said.contains("new.yml:1:1: warning"), "{key}: {said}");
        assert!(said.contains(name), "{key}: {said}");
    }
}

#[test]
fn d3_what_cannot_be_replicated_by_is_not_saved() {
    let dir = quickstart();
    let one = |database: &str| format!("dbs:\n  - {{{database}}}\n");
    for text in [
        one("path: a.db, replicas: [{path: r}, {path: s}]"),
        one("path: a.db, replica: {path: r}, replicas: [{path: s}]"),
        one("path: a.db, dir: data, replica: {path: r}"),
        one("path: a.db, replica: {path: r, age: {identities: [x]}}"),
        one("path: a.db, replica: {path: r, sync-interval: 0s}"),
        one("path: a.db, replica: {path: r, sync-interval: -1s}"),
        one("path: a.db, replica: {path: r, sync-interval: soon}"),
        one("path: a.db, replica: {type: carrier-pigeon, path: r}"),
        one("path: a.db, replica: {path: 's3://b/p'}"),
        one("path: a.db, replica: {type: s3, path: p}"),
        one("path: a.db, replica: {type: file}"),
        one("path: a.db"),
        one("replica: {path: r}"),
        format!("{YML}nonsense: 1\n"),
        format!("{YML}logging: {{level: loud}}\n"),
        format!("{YML}logging: {{type: xml}}\n"),
        "dbs: []\n".to_owned(),
        "{}\n".to_owned(),
        "dbs: [\n".to_owned(),
    ] {
        write(dir.path(), &text);
        let output = run(dir.path(), SAVE);
        assert_eq!(output.status.code(), Some(1), "{text}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("new.yml was not saved"), "{text}: {stderr}");
        assert!(stderr.contains("error: "), "{text}: {stderr}");
    }
    fails(
        dir.path(),
        "-dbpath app.db save -scope litestream -format toml litestream.yml",
        "expected 'yaml' or 'yml', found 'toml'",
    );
    // What was saved before is still the newest.
    assert_eq!(
        ok(dir.path(), "-dbpath app.db list litestream")
            .lines()
            .count(),
        2
    );
}

#[test]
fn d4_durations_and_sizes_are_written_as_in_go_and_the_top_is_the_default_of_every_replica() {
    let dir = quickstart();
    let said = saved(
        dir.path(),
        "region: eu-central-1\nsync-interval: 1m30s\naccess-key-id: a\nsecret-access-key: b\n\
         part-size: 5MiB\n\
         dbs:\n  - {path: a.db, replica: {type: s3, bucket: b, path: p}}\n",
    );
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn d5_no_variable_changes_what_a_configuration_means() {
    let dir = quickstart();
    fs::write(
        dir.path().join("quiet.yml"),
        format!("{YML}logging: {{level: error}}\n"),
    )
    .expect("write");
    rusqlite::Connection::open(dir.path().join("app.db"))
        .and_then(|connection| connection.execute_batch("CREATE TABLE t (x)"))
        .expect("a commit");
    let variables = [("LOG_LEVEL", "trace"), ("RUST_LOG", "trace")];
    let output = run_with(dir.path(), &variables, "replicate -once -config quiet.yml");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let s3 = "dbs:\n  - {path: app.db, replica: {type: s3, bucket: b, path: p, \
              endpoint: 'http://127.0.0.1:1'}}\n";
    fs::write(dir.path().join("s3.yml"), s3).expect("write");
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let output = run_with(dir.path(), &keys, "restore -config s3.yml -o x.db ./app.db");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("access-key-id"), "{stderr}");
}
