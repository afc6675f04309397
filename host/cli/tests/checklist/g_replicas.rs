//! G: each kind of replica is accepted, replicated to and restored from, under every name it has.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::process::Running;
use lockkeeper_tests::servers::{ACCOUNT, ACCOUNT_KEY, KEY_ID, SECRET, Server};
use rusqlite::Connection;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::column;
use crate::support::{ok, run};

/// A database and its stored configuration, with this replica.
fn world(replica: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    let config = format!("dbs:\n  - {{path: ./app.db, replica: {replica}}}\n");
    fs::write(dir.path().join("litestream.yml"), config).expect("write");
    ok(dir.path(), "keygen -o age_key.txt");
    ok(dir.path(), "-dbpath app.db app create");
    let save = "-dbpath app.db config save -scope litestream litestream.yml";
    let output = run(dir.path(), save);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{replica}: {said}");
    assert!(!said.contains("warning"), "{replica}: {said}");
    dir
}

fn insert(dir: &Path, row: &str) {
    let app = Connection::open(dir.join("app.db")).expect("a database");
    app.execute_batch("PRAGMA busy_timeout = 5000; CREATE TABLE IF NOT EXISTS t (x)")
        .expect("a table");
    app.execute("INSERT INTO t VALUES (?1)", [row])
        .expect("a commit");
}

/// Replicates to `replica`, which is called `place` in the log, and restores it by the stored
/// configuration.
#[track_caller]
fn goes_round(replica: &str, place: impl FnOnce(&Path) -> String) -> TempDir {
    let dir = world(replica);
    let place = place(dir.path());
    let mut running = Running::start(
        Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
            .args("-dbpath app.db replicate".split(' '))
            .current_dir(dir.path())
            .env_clear(),
    );
    let database = dir.path().join("app.db");
    let line = running.wait_for("it replicates", |line| line.contains(" replicating "));
    let expected = format!(
        "replicating database={} replica={place}",
        database.display()
    );
    assert!(line.ends_with(&expected), "{line}\n{expected}");
    running.wait_for("the start", |line| line.contains("everything has started"));
    insert(dir.path(), "one");
    insert(dir.path(), "two");
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.printed);
    ok(dir.path(), "-dbpath app.db restore -o restored.db ./app.db");
    assert_rows(&dir.path().join("restored.db"));
    dir
}

#[track_caller]
fn assert_rows(database: &Path) {
    assert_eq!(column(database, "SELECT x FROM t"), ["one", "two"]);
}

/// Restores from a URL, with what may be needed in the environment.
#[track_caller]
fn comes_back_by(dir: &Path, url: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockkeeper"));
    command.args(["restore", "-o", "by-url.db", url]);
    command.current_dir(dir).env_clear();
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{url}: {output:?}");
    assert_rows(&dir.join("by-url.db"));
}

/// The replica of a server with everything it needs but its kind and its place, which are `place`.
fn placed(replica: &str, place: &str) -> String {
    let keys = replica.trim_matches(['{', '}']).split(", ");
    let others = keys.filter(|key| {
        let name = key.split(':').next().expect("a name");
        !["type", "bucket", "path"].contains(&name)
    });
    let others: Vec<_> = others.collect();
    format!("{{{place}, {}}}", others.join(", "))
}

#[test]
fn g_file_is_replicated_to_and_restored_from_under_every_name_it_has() {
    let below = |name: &'static str| move |dir: &Path| format!("file://{}/{name}", dir.display());
    for replica in [
        "{path: ./replica}",
        "{type: file, path: replica}",
        "{path: x/../replica}",
    ] {
        let dir = goes_round(replica, below("replica"));
        let url = below("replica")(dir.path());
        comes_back_by(dir.path(), &url, &[]);
    }
    let elsewhere = tempfile::tempdir().expect("temp dir");
    let url = format!("file://{}/replica", elsewhere.path().display());
    // The kind is that of the URL.
    for (replica, clear) in [
        (format!("{{url: '{url}'}}"), true),
        (format!("{{type: s3, url: '{url}'}}"), false),
    ] {
        let dir = goes_round(&replica, |_| url.clone());
        comes_back_by(dir.path(), &url, &[]);
        if clear {
            fs::remove_dir_all(elsewhere.path().join("replica")).expect("removed");
        }
    }
}

#[test]
fn g_s3_is_replicated_to_and_restored_from_under_every_name_it_has() {
    for server in [Server::seaweedfs(), Server::moto()].into_iter().flatten() {
        let endpoint = format!("http://{}", server.address);
        let keys = server.replica("g/keys");
        let url = |path: &str| format!("s3://lockkeeper/g/{path}");
        let by_url = placed(&keys, &format!("url: '{}'", url("url")));
        let wins = placed(&keys, &format!("type: file, url: '{}'", url("wins")));
        let query = format!(
            "{{url: '{}?endpoint={endpoint}&region=us-east-1&forcePathStyle=true', \
             access-key-id: {KEY_ID}, secret-access-key: {SECRET}}}",
            url("query")
        );
        for (path, replica) in [
            ("keys", keys.clone()),
            ("url", by_url),
            ("wins", wins),
            ("query", query),
        ] {
            let dir = goes_round(&replica, |_| url(path));
            let url = format!(
                "{}?endpoint={endpoint}&region=us-east-1&use-platform-credentials=true",
                url(path)
            );
            let variables = [
                ("AWS_ACCESS_KEY_ID", KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
            ];
            comes_back_by(dir.path(), &url, &variables);
        }
    }
}

#[test]
fn g_gs_is_replicated_to_and_restored_from_under_every_name_it_has() {
    let server = FakeGcs::start();
    let url = |path: &str| format!("gs://lockkeeper/g/{path}");
    let keys = server.replica("g/keys");
    let account = keys.split_once("service-account: '").expect("an account").1;
    let account = account.split_once('\'').expect("its end").0.to_owned();
    let of_url = |place: &str| format!("{{{place}, service-account: '{account}'}}");
    for (path, replica) in [
        ("keys", keys.clone()),
        ("url", of_url(&format!("url: '{}'", url("url")))),
        ("wins", of_url(&format!("type: s3, url: '{}'", url("wins")))),
    ] {
        let dir = goes_round(&replica, |_| url(path));
        // A URL on the command line has no place for an account, and that of a machine is Google's.
        ok(
            dir.path(),
            "restore -config litestream.yml -o again.db ./app.db",
        );
        assert_rows(&dir.path().join("again.db"));
    }
}

#[test]
fn g_abs_is_replicated_to_and_restored_from_under_every_name_it_has() {
    let Some(server) = Server::azurite() else {
        return;
    };
    let keys = server.replica("g/keys");
    let url = |path: &str| format!("abs://lockkeeper@lockkeeper/g/{path}");
    for (path, replica) in [
        ("keys", keys.clone()),
        ("url", placed(&keys, &format!("url: '{}'", url("url")))),
        (
            "wins",
            placed(&keys, &format!("type: file, url: '{}'", url("wins"))),
        ),
    ] {
        let dir = goes_round(&replica, |_| url(path));
        let url = format!(
            "{}?endpoint=http://{}/{ACCOUNT}&use-platform-credentials=true",
            url(path),
            server.address
        );
        let variables = [("LITESTREAM_AZURE_ACCOUNT_KEY", ACCOUNT_KEY)];
        comes_back_by(dir.path(), &url, &variables);
    }
}
