//! `lockkeeper replicate` from its start to its end, by signals, as a process of its own.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockkeeper_tests::fake_gcs::FakeGcs;
use lockkeeper_tests::process::{Ended, Running};
use lockkeeper_tests::tools::program;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

mod support;

/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is logged when a reload worked.
const IN_FORCE: &str = "another configuration is in force";

/// A database, its configuration, and whoever writes to it.
struct World {
    dir: TempDir,
    app: Connection,
}

impl World {
    /// A replica that is only sent to when everything ends, or somebody waits for it.
    fn new() -> Self {
        Self::with_replica("{path: backup, sync-interval: 1h}", "")
    }

    fn with_replica(replica: &str, top: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let app = Connection::open(dir.path().join("app.db")).expect("a database");
        app.execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA busy_timeout = 10000; PRAGMA synchronous = off;
             CREATE TABLE t (x)",
        )
        .expect("a table");
        let world = Self { dir, app };
        world.configure(&format!(
            "{top}dbs:\n  - {{path: app.db, replica: {replica}}}\n"
        ));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("litestream.yml"), text).expect("a configuration");
    }

    fn insert(&self) {
        self.app
            .execute("INSERT INTO t VALUES (1)", [])
            .expect("committed");
    }

    fn start(&self) -> Running {
        self.start_with(&[])
    }

    fn start_with(&self, environment: &[(&str, String)]) -> Running {
        self.run(self.command().envs(environment.iter().cloned()))
    }

    /// With a level for the log.
    fn start_at(&self, level: Option<&str>) -> Running {
        let level = level.map(|level| format!("-log-level={level}"));
        self.run(self.command().args(level))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockkeeper"));
        command
            .args(["replicate", "-config", "litestream.yml"])
            .current_dir(self.dir.path())
            .env_clear();
        command
    }

    fn run(&self, command: &mut Command) -> Running {
        let mut running = Running::start(command);
        running.wait_for("it replicates", |line| line.contains("state=Replicating"));
        running
    }

    /// How many rows a restore brings back.
    fn restored(&self) -> i64 {
        support::ok(
            self.dir.path(),
            "restore -config litestream.yml -o out.db app.db",
        );
        let db = Connection::open(self.path("out.db")).expect("restored");
        let count = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        count.expect("the rows")
    }
}

fn waits(running: &mut Running, text: &str) {
    running.wait_for(text, |line| line.contains(text));
}

#[track_caller]
fn ends_well(running: Running, signal: Signal) {
    running.signal(signal);
    let ended = running.finish();
    assert_eq!(
        ended.status.code(),
        Some(0),
        "{signal:?}: {:#?}",
        ended.printed
    );
}

#[track_caller]
fn says(ended: &Ended, wanted: &[&str]) {
    let text = ended.printed.join("\n");
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
    }
}

#[test]
fn b3b_each_signal_to_end_flushes_what_was_just_committed_and_exits_with_0() {
    for (signal, rows) in [(Signal::INT, 3), (Signal::TERM, 6), (Signal::QUIT, 9)] {
        let world = World::new();
        let running = world.start();
        for _ in 0..rows {
            world.insert();
        }
        ends_well(running, signal);
        assert_eq!(world.restored(), rows, "{signal:?}");
    }
}

#[test]
fn b3b_a_replica_that_hangs_at_the_end_costs_the_deadline_and_what_is_not_durable_is_named() {
    let server = FakeGcs::start();
    let world = World::with_replica(&server.replica("r"), "shutdown-sync-timeout: 2s\n");
    let running = world.start();
    let sync = "sync -wait -config litestream.yml -socket control.sock app.db";
    assert!(
        !support::run(world.dir.path(), sync).status.success(),
        "there is no socket"
    );
    server.wait_for_a_crowd(usize::MAX);
    world.insert();
    let began = Instant::now();
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert!(began.elapsed() >= Duration::from_secs(2), "it did not try");
    assert_eq!(ended.status.code(), Some(1));
    says(
        &ended,
        &[
            "Error: cannot stop replication",
            "not durable",
            "app.db from TXID 00",
        ],
    );
}

#[test]
fn a_second_signal_is_obeyed_at_once() {
    let server = FakeGcs::start();
    let world = World::with_replica(&server.replica("r"), "shutdown-sync-timeout: 1h\n");
    let mut running = world.start();
    server.wait_for_a_crowd(usize::MAX);
    world.insert();
    running.signal(Signal::TERM);
    waits(&mut running, "stopping");
    running.signal(Signal::INT);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(1));
    says(&ended, &["ended at once by a second signal (SIGINT)"]);
}

#[test]
fn b3b_a_reload_while_a_thousand_commits_a_second_are_made_loses_no_transaction() {
    const RELOADS: u64 = 5;
    let world = World::with_replica("{path: backup}", "");
    let mut running = world.start();
    let is_over = AtomicBool::new(false);
    let committed = std::thread::scope(|scope| {
        let path = world.path("app.db");
        let is_over = &is_over;
        let writer = scope.spawn(move || {
            let app = Connection::open(path).expect("a connection");
            app.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA synchronous = off")
                .expect("settings");
            let began = Instant::now();
            let mut committed = 0_u32;
            while !is_over.load(Ordering::Relaxed) {
                app.execute("INSERT INTO t VALUES (1)", [])
                    .expect("committed");
                committed += 1;
                let due = began + Duration::from_millis(committed.into());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            i64::from(committed)
        });
        for reload in 1..=RELOADS {
            // Other settings, or the database would not be touched.
            world.configure(&format!(
                "dbs:\n  - {{path: app.db, busy-timeout: {reload}s, replica: {{path: backup}}}}\n"
            ));
            running.signal(Signal::HUP);
            waits(&mut running, IN_FORCE);
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("it wrote")
    });
    assert!(committed > 100, "{committed} commits are no load");
    ends_well(running, Signal::TERM);
    assert_eq!(world.restored(), committed);
    let files = support::ok(
        world.dir.path(),
        "ltx -json -level 0 -config litestream.yml app.db",
    );
    let files: Vec<Value> = serde_json::from_str(&files).expect("JSON");
    let txid = |file: &Value, end: &str| {
        u64::from_str_radix(file[end].as_str().expect("text"), 16).expect("a TXID")
    };
    for pair in files.windows(2) {
        assert_eq!(txid(&pair[1], "min_txid"), txid(&pair[0], "max_txid") + 1);
    }
}

#[test]
fn b3b_a_configuration_that_does_not_work_leaves_the_one_before_in_force() {
    let world = World::new();
    let mut running = world.start();
    let good = fs::read_to_string(world.path("litestream.yml")).expect("the configuration");
    fs::create_dir(world.path("half")).expect("a folder");
    fs::write(world.path("half/ltx"), "in the way").expect("a file");
    for bad in [
        "dbs: [{path: app.db, replica: {type: pigeon}}]\n",
        "dbs: [{path: app.db, replica: {path: half}}]\n",
    ] {
        world.configure(bad);
        running.signal(Signal::HUP);
        waits(&mut running, "the configuration before goes on");
    }
    world.insert();
    world.configure(&good);
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(0));
    says(&ended, &["pigeon", "cannot be used"]);
    assert!(!ended.printed.join("\n").contains(IN_FORCE));
    assert_eq!(world.restored(), 1);
}

#[test]
fn the_time_for_the_end_is_that_of_the_configuration_in_force() {
    let server = FakeGcs::start();
    let world = World::with_replica(&server.replica("r"), "shutdown-sync-timeout: 1h\n");
    let mut running = world.start();
    let replica = server.replica("r");
    world.configure(&format!(
        "shutdown-sync-timeout: 1s\ndbs:\n  - {{path: app.db, replica: {replica}}}\n"
    ));
    running.signal(Signal::HUP);
    waits(&mut running, IN_FORCE);
    server.wait_for_a_crowd(usize::MAX);
    world.insert();
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(1));
    says(&ended, &["stopped after 1s"]);
}

#[test]
fn e2_a_reload_changes_how_it_logs_but_not_a_level_that_was_given() {
    for (level, expects) in [(None, true), (Some("info"), false)] {
        let world = World::new();
        let mut running = world.start_at(level);
        world.configure(
            "logging: {level: debug, type: json}\n\
             dbs:\n  - {path: app.db, replica: {path: backup, sync-interval: 1h}}\n",
        );
        running.signal(Signal::HUP);
        let line = running.wait_for(IN_FORCE, |line| line.contains(IN_FORCE));
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["level"], "INFO");
        world.insert();
        running.signal(Signal::TERM);
        let ended = running.finish();
        assert_eq!(ended.status.code(), Some(0));
        let debug = |line: &String| line.contains("\"level\":\"DEBUG\"");
        assert_eq!(ended.printed.iter().any(debug), expects, "{level:?}");
    }
}

/// What systemd is told next.
fn told(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let len = socket.recv(&mut message).expect("it is told");
    String::from_utf8_lossy(&message[..len]).into_owned()
}

#[test]
fn systemd_is_told_of_the_start_of_reloads_of_life_and_of_the_end() {
    let world = World::new();
    let path = world.path("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let environment = [
        ("NOTIFY_SOCKET", path.display().to_string()),
        ("WATCHDOG_USEC", "200000".to_owned()),
    ];
    let mut running = world.start_with(&environment);
    let next = || loop {
        let message = told(&socket);
        if message != "WATCHDOG=1\n" {
            return message;
        }
    };
    assert!(next().starts_with("READY=1\n"));
    while told(&socket) != "WATCHDOG=1\n" {}
    running.signal(Signal::HUP);
    let message = next();
    assert!(
        message.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{message}"
    );
    assert!(next().starts_with("READY=1\n"));
    waits(&mut running, IN_FORCE);
    running.signal(Signal::TERM);
    assert!(next().starts_with("STOPPING=1\n"));
    assert_eq!(running.finish().status.code(), Some(0));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_of_the_examples() {
    let Some(analyze) = program("systemd-analyze") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let unit = include_str!("../../../examples/systemd/lockkeeper.service");
    let installed = "/usr/local/bin/lockkeeper";
    assert!(unit.contains(installed));
    // It looks whether the program is there.
    let unit = unit.replace(installed, env!("CARGO_BIN_EXE_lockkeeper"));
    let path = dir.path().join("lockkeeper.service");
    let verify = |text: &str| {
        fs::write(&path, text).expect("written");
        let mut command = Command::new(&analyze);
        let output = command.args(["verify", "--man=no"]).arg(&path).output();
        output.expect("it runs")
    };
    let output = verify(&unit);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let of_ours = said.lines().find(|line| line.contains("lockkeeper"));
    assert_eq!(of_ours, None, "{said}");
    // It reads what it is given.
    let typo = unit.replace("WatchdogSec=", "WatchDogSecs=");
    let said = verify(&typo).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("WatchDogSecs"), "{said}");
}

#[test]
fn d2_what_litestream_has_and_lockkeeper_has_not_is_warned_of_at_the_start() {
    let world = World::with_replica(
        "{path: backup}",
        "exec: myapp\naddr: ':9090'\nmcp-addr: ':3001'\n",
    );
    let running = world.start();
    world.insert();
    running.signal(Signal::TERM);
    let ended = running.finish();
    assert_eq!(ended.status.code(), Some(0), "it starts all the same");
    for key in ["exec", "addr", "mcp-addr"] {
        let is_warning =
            |line: &&String| line.contains("WARN") && line.contains(&format!(" {key}:"));
        let lines: Vec<_> = ended.printed.iter().filter(is_warning).collect();
        assert_eq!(lines.len(), 1, "{key}: {:#?}", ended.printed);
    }
    assert_eq!(world.restored(), 1);
}

/// A component of the first contract, which is another than the built-in one.
const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../src/policy/tests/data/policy-0.1.0.wasm"
);

#[test]
fn a_policy_that_was_saved_decides_after_sighup_and_a_bad_one_does_not() {
    let dir = support::quickstart();
    let store = "-age-key age_key.txt -dbpath app.db";
    let mut running = Running::start(
        Command::new(env!("CARGO_BIN_EXE_lockkeeper"))
            .args(store.split(' '))
            .arg("replicate")
            .current_dir(dir.path())
            .env_clear(),
    );
    waits(&mut running, "everything has started");
    support::ok(dir.path(), &format!("{store} policy install {POLICY}"));
    running.signal(Signal::HUP);
    waits(&mut running, "a policy was installed");
    waits(&mut running, "the configuration was read again");

    fs::write(dir.path().join("bad.wasm"), "no component").expect("written");
    support::ok(
        dir.path(),
        &format!("{store} config save -scope policy bad.wasm"),
    );
    running.signal(Signal::HUP);
    waits(
        &mut running,
        "a policy was refused; the one before decides on",
    );
    ends_well(running, Signal::TERM);
}
