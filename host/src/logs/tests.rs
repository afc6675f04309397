use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use tracing_subscriber::layer::SubscriberExt;

use super::database::LogDatabase;
use super::file::LogFile;
use super::settings::LogSettings;
use crate::{Daemon, DaemonResult, Daemons};

fn settings(dir: &tempfile::TempDir) -> LogSettings {
    LogSettings::at(dir.path().join("logs.db"))
}

/// Logs `work` to a log.
fn logged(log: &LogDatabase, work: impl FnOnce()) {
    let subscriber = tracing_subscriber::registry().with(log.layer());
    tracing::subscriber::with_default(subscriber, work);
}

/// The rows of a log, each as text.
fn rows(path: &Path, columns: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let sql = format!("SELECT {columns} FROM logs ORDER BY rowid");
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn an_event_is_a_row_with_its_level_message_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDatabase::open(settings(&dir)).unwrap();
    let path = log.path().to_owned();
    logged(&log, || {
        let error = std::io::Error::other("broken");
        tracing::error!(bytes = 42_u64, ok = false, %error, "it {}", "failed");
        tracing::info!(name = "Ada");
        tracing::debug!("less severe than the level");
    });
    assert_eq!(log.close(), 0);
    assert_eq!(
        rows(&path, "level || ' ' || message"),
        ["8 it failed", "0 "]
    );
    let target = module_path!();
    assert_eq!(
        rows(&path, "data"),
        [
            format!(r#"{{"bytes":42,"error":"broken","ok":false,"target":"{target}"}}"#),
            format!(r#"{{"name":"Ada","target":"{target}"}}"#),
        ]
    );
    for created in rows(&path, "created") {
        // 2026-01-31T09:30:00.123456789Z
        assert_eq!(created.len(), 30, "{created}");
        assert!(created.parse::<jiff::Timestamp>().is_ok(), "{created}");
    }
}

#[test]
fn the_seeds_schema_is_made_once_and_rows_have_its_ids() {
    let dir = tempfile::tempdir().unwrap();
    settings(&dir).create().unwrap();
    settings(&dir).create().unwrap();
    let log = LogDatabase::open(settings(&dir)).unwrap();
    let path = log.path().to_owned();
    logged(&log, || tracing::info!("one"));
    drop(log);
    let id = rows(&path, "id").remove(0);
    assert!(id.starts_with('r') && id.len() == 15, "{id}");
    let connection = Connection::open(path).unwrap();
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

/// A part of an application that has something to say when it ends.
struct Talking;

#[async_trait]
impl Daemon for Talking {
    fn name(&self) -> &'static str {
        "it"
    }

    async fn start(&mut self) -> DaemonResult {
        tracing::info!("starts");
        Ok(())
    }

    async fn stop(&mut self, _: Duration) -> DaemonResult {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tracing::info!("last words");
        Ok(())
    }
}

#[tokio::test]
async fn b3c_a_log_among_daemons_stops_last_and_has_the_last_words_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDatabase::open(settings(&dir)).unwrap();
    let path = log.path().to_owned();
    let subscriber = tracing_subscriber::registry().with(log.layer());
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut daemons = Daemons::new().with(log).with(Talking);
    daemons.start().await.unwrap();
    daemons.stop().await.unwrap();
    tracing::info!("too late");
    // It is closed, not only written so far.
    assert_eq!(rows(&path, "message"), ["starts", "last words"]);
    assert!(!path.with_extension("db-wal").exists());
}

#[test]
fn e3_a_full_queue_drops_counts_and_says_so_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir);
    settings.queue_max = 1;
    settings.batch_max = 1;
    let locked = settings.path.clone();
    settings.create().unwrap();
    let other = Connection::open(&locked).unwrap();
    // The writer waits for this lock while the queue fills.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let log = LogDatabase::open(settings).unwrap();
    logged(&log, || {
        for n in 0..10 {
            tracing::info!(n, "a line");
        }
    });
    let dropped = log.dropped();
    assert!(dropped >= 7, "{dropped}");
    other.execute_batch("ROLLBACK").unwrap();
    let dropped = log.close();
    let messages = rows(&locked, "message");
    let told: u64 = messages
        .iter()
        .filter_map(|message| message.strip_suffix(" log records were dropped"))
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    let lines = messages
        .iter()
        .filter(|message| *message == "a line")
        .count();
    assert_eq!((told, lines as u64 + told), (dropped, 10), "{messages:?}");
}

#[test]
fn a_file_that_stays_locked_costs_its_records_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    settings.create().unwrap();
    let other = Connection::open(&settings.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let log = LogDatabase::open(settings).unwrap();
    logged(&log, || (0..500).for_each(|n| tracing::info!(n, "a line")));
    assert_eq!(log.close(), 500);
}

#[test]
fn a_full_disk_costs_its_records_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let file = LogFile::open(&settings).unwrap();
    file.fill_up();
    let log = LogDatabase::start(file, settings.clone()).unwrap();
    let large = "x".repeat(8000);
    logged(&log, || (0..50).for_each(|_| tracing::info!("{large}")));
    assert_eq!(log.close(), 50);
    assert_eq!(rows(&settings.path, "message"), [""; 0]);
    let log = LogDatabase::open(settings.clone()).unwrap();
    logged(&log, || tracing::info!("room"));
    assert_eq!(log.close(), 0);
    assert_eq!(rows(&settings.path, "message"), ["room"]);
}

#[test]
fn what_is_logged_after_the_end_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDatabase::open(settings(&dir)).unwrap();
    let subscriber = tracing_subscriber::registry().with(log.layer());
    assert_eq!(log.close(), 0);
    tracing::subscriber::with_default(subscriber, || tracing::info!("too late"));
}

#[test]
fn old_records_and_those_above_the_count_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir);
    settings.create().unwrap();
    settings.rows_max = 3;
    let connection = Connection::open(&settings.path).unwrap();
    connection
        .execute_batch(
            "INSERT INTO logs (message, created) VALUES ('old', '2020-01-01T00:00:00.000000000Z')",
        )
        .unwrap();
    let log = LogDatabase::open(settings.clone()).unwrap();
    logged(&log, || tracing::info!("1"));
    log.close();
    assert_eq!(rows(&settings.path, "message"), ["1"]);
    let log = LogDatabase::open(settings.clone()).unwrap();
    logged(&log, || (2..=5).for_each(|n| tracing::info!("{n}")));
    log.close();
    assert_eq!(rows(&settings.path, "message"), ["3", "4", "5"]);
}

#[test]
fn texts_without_end_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDatabase::open(settings(&dir)).unwrap();
    let path = log.path().to_owned();
    let long = "é".repeat(1 << 20);
    logged(&log, || {
        tracing::info!("{long}");
        tracing::info!(
            a = long,
            b = long,
            c = long,
            d = long,
            e = long,
            f = long,
            g = long,
            h = long,
            i = long,
            "many"
        );
    });
    log.close();
    assert_eq!(rows(&path, "data")[1], r#"{"truncated":true}"#);
    let bytes: Vec<String> = rows(&path, "CAST(length(CAST(message AS BLOB)) AS TEXT)");
    assert_eq!(bytes, ["8192", "4"]);
}

#[track_caller]
fn parsed(toml: &str) -> LogSettings {
    LogSettings::parse(toml.as_bytes(), Path::new("/srv/logs.db")).unwrap()
}

#[test]
fn settings_come_from_the_application_and_have_defaults() {
    assert_eq!(parsed(""), LogSettings::at("/srv/logs.db"));
    let settings = parsed(
        "[log.batch]\ndb_path = 'other.db'\nlevel = 'Warning'\nchan_size = 0\nflush_size = 7\n\
         flush_interval = '1m30s'\nretention = '48h'\nrows_max = 9\n",
    );
    assert_eq!(settings.path, PathBuf::from("other.db"));
    assert_eq!(settings.level, tracing::level_filters::LevelFilter::WARN);
    assert_eq!((settings.queue_max, settings.batch_max), (1, 7));
    assert_eq!(settings.interval, Duration::from_secs(60));
    assert_eq!(settings.retention, Duration::from_secs(48 * 3600));
    assert_eq!(settings.rows_max, 9);
    for (toml, part) in [
        ("level = 'loud'", "log.batch.level"),
        ("flush_interval = 'soon'", "log.batch.flush_interval"),
        ("retention = 5", "log.batch is wrong"),
        ("secret = hunter2", "log.batch is wrong"),
    ] {
        let toml = format!("[log.batch]\n{toml}\n");
        let error = LogSettings::parse(toml.as_bytes(), Path::new("x")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(part) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
