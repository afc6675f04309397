//! The two logs, and that they are two: E of the seed's checklist.
#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use lockkeeper::logs::LogSettings;
use rusqlite::Connection;
use rustix::process::Signal;
use support::{FLAGS, Folder, LITESTREAM_YML};

/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the replication says of itself, and nobody else does.
const INSIDE: &str = "sealed every page";
/// What the library says to the application.
const OUTSIDE: &str = "replicating as the litestream configuration says";
/// What the application says.
const OWN: &str = "listening on";

/// What a run left behind.
struct Told {
    stdout: String,
    stderr: String,
    /// The rows of `logs.db`: level, message and data.
    rows: Vec<(i64, String, serde_json::Value)>,
}

/// Runs the application with this `logging:` until it has sent a message.
fn run(folder: &Folder, logging: &str) -> Told {
    folder.save("litestream", &format!("{LITESTREAM_YML}{logging}"), "yml");
    let app = folder.start();
    app.sign("hello");
    app.sync();
    app.signal(Signal::TERM);
    let (status, stderr) = app.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    Told {
        stdout: fs::read_to_string(folder.path("stdout")).expect("text"),
        stderr,
        rows: rows(folder),
    }
}

fn rows(folder: &Folder) -> Vec<(i64, String, serde_json::Value)> {
    let log = Connection::open(folder.path("logs.db")).expect("the log");
    let sql = "SELECT level, message, data FROM logs ORDER BY rowid";
    let mut statement = log.prepare(sql).expect("the table");
    let rows = statement.query_map([], |row| {
        let data: String = row.get(2)?;
        let data = serde_json::from_str(&data).expect("JSON");
        Ok((row.get(0)?, row.get(1)?, data))
    });
    rows.expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("rows")
}

impl Told {
    fn is_kept(&self, text: &str) -> bool {
        self.rows
            .iter()
            .any(|(_, message, _)| message.contains(text))
    }
}

#[test]
fn e1_what_the_application_is_told_is_in_logs_db_up_to_the_last_word() {
    let told = run(&Folder::ready(), "");
    for text in [OUTSIDE, OWN, "stopped: everything that was committed"] {
        assert!(told.is_kept(text), "{text}: {:?}", told.rows);
        assert!(told.stderr.contains(text), "{text}: {}", told.stderr);
    }
    let (level, _, data) = told
        .rows
        .iter()
        .find(|(_, message, _)| message == OUTSIDE)
        .expect("it was found");
    assert_eq!((*level, &data["databases"]), (0, &serde_json::json!(1)));
}

#[test]
fn e1_a_row_is_there_while_the_application_runs() {
    let folder = Folder::ready();
    let app = folder.start();
    let deadline = Instant::now() + PATIENCE;
    let is_there = || {
        let found = rows(&folder);
        found
            .iter()
            .any(|(_, message, _)| message.contains("litestream"))
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "{:?}", rows(&folder));
        std::thread::sleep(Duration::from_millis(100));
    }
    app.signal(Signal::TERM);
    let (status, stderr) = app.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[test]
fn e1_the_inside_of_the_replication_is_in_neither_log_of_the_application() {
    let told = run(&Folder::ready(), "");
    assert!(told.stdout.contains(INSIDE), "{}", told.stdout);
    assert!(!told.stderr.contains(INSIDE), "{}", told.stderr);
    assert!(!told.is_kept(INSIDE), "{:?}", told.rows);
    for text in [OUTSIDE, OWN] {
        assert!(!told.stdout.contains(text), "{}", told.stdout);
    }
}

#[test]
fn e2_the_replication_logs_text_at_info_to_standard_output_unless_told_otherwise() {
    let told = run(&Folder::ready(), "");
    for line in told.stdout.lines() {
        assert!(line.contains(" INFO ") || line.contains(" WARN "), "{line}");
    }
    assert!(told.stdout.contains(INSIDE), "{}", told.stdout);
}

#[test]
fn e2_standard_error_gets_it_when_the_configuration_says_so() {
    let told = run(&Folder::ready(), "logging: {stderr: true}\n");
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains(INSIDE), "{}", told.stderr);
}

#[test]
fn e2_json_is_one_object_a_line() {
    let told = run(&Folder::ready(), "logging: {type: json, level: debug}\n");
    let mut levels = Vec::new();
    for line in told.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        levels.push(line["level"].as_str().expect("a level").to_owned());
    }
    for level in ["INFO", "DEBUG"] {
        assert!(levels.iter().any(|found| found == level), "{levels:?}");
    }
}

#[test]
fn e2_the_level_of_the_replication_is_not_that_of_the_application() {
    let told = run(&Folder::ready(), "logging: {level: error}\n");
    assert_eq!(told.stdout, "");
    assert!(told.stderr.contains(OWN), "{}", told.stderr);
    assert!(told.is_kept(OWN));
    let folder = Folder::ready();
    folder.save("application", "[log.batch]\nlevel = 'error'\n", "toml");
    let told = run(&folder, "");
    assert!(told.stdout.contains(INSIDE), "{}", told.stdout);
    assert!(told.rows.is_empty(), "{:?}", told.rows);
}

#[test]
fn e2_another_configuration_changes_how_the_replication_logs_while_it_runs() {
    let folder = Folder::ready();
    let mut app = folder.start();
    let stdout = || fs::read_to_string(folder.path("stdout")).expect("text");
    app.sign("hello");
    app.sync();
    let other = "logging: {type: json, level: debug, stderr: true}\n";
    folder.save("litestream", &format!("{LITESTREAM_YML}{other}"), "yml");
    app.signal(Signal::HUP);
    app.wait_for("the configuration was read again");
    let before = stdout();
    assert!(before.contains(INSIDE), "{before}");
    app.sign("more");
    app.sync();
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    while !is_json(&app.wait_for("\"level\":\"DEBUG\"")) {}
    folder.save(
        "litestream",
        &format!("{LITESTREAM_YML}logging: {{level: error}}\n"),
        "yml",
    );
    app.signal(Signal::HUP);
    app.wait_for("the configuration was read again");
    app.log.clear();
    app.sign("quiet");
    app.signal(Signal::TERM);
    let (status, stderr) = app.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("\"level\":"), "{stderr}");
    assert_eq!(stdout(), before);
}

#[test]
fn e2_a_level_or_a_type_that_does_not_exist_is_refused_with_its_place() {
    for (logging, key) in [
        ("logging: {level: loud}\n", "logging.level"),
        ("logging: {type: xml}\n", "logging.type"),
    ] {
        let folder = Folder::ready();
        folder.save("litestream", &format!("{LITESTREAM_YML}{logging}"), "yml");
        let stderr = folder.fails(FLAGS);
        assert!(stderr.contains(key), "{stderr}");
        assert!(stderr.contains("7:"), "{stderr}");
    }
}

#[test]
fn e3_what_keeps_it_from_starting_is_on_standard_error_whatever_the_logs_say() {
    let folder = Folder::ready();
    let quiet = format!("{LITESTREAM_YML}logging: {{level: error, type: json}}\n");
    folder.save("litestream", &quiet, "yml");
    folder.save("application", "[log.batch]\nlevel = 'error'\n", "toml");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let stderr = folder.fails(&format!(
        "-age-key age_key.txt -dbpath app.db -addr {address}"
    ));
    assert!(stderr.contains("Error: cannot listen on"), "{stderr}");
}

#[test]
fn e3_a_log_that_cannot_be_written_is_told_on_standard_error_and_costs_nothing_else() {
    let folder = Folder::ready();
    LogSettings::at(folder.path("logs.db"))
        .create()
        .expect("a log");
    let other = Connection::open(folder.path("logs.db")).expect("the log");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let told = run(&folder, "");
    assert!(told.rows.is_empty(), "{:?}", told.rows);
    assert!(
        told.stderr.contains("log records were dropped"),
        "{}",
        told.stderr
    );
    assert_eq!(folder.restored(), ["hello"]);

    let folder = Folder::ready();
    fs::create_dir(folder.path("logs.db")).expect("something in the way");
    let app = folder.start();
    app.signal(Signal::TERM);
    let (status, stderr) = app.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("there is no log in a database"), "{stderr}");
}
