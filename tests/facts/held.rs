//! Holding the log, and copying it while nobody can append.

use super::{App, checkpoint, commit};

/// Begins a read transaction.
const READ: &str = "BEGIN; SELECT COUNT(*) FROM t";

#[test]
fn a_reader_of_a_fully_copied_log_does_not_keep_it_from_being_restarted() {
    let app = App::new();
    let (busy, frames, copied) = app.checkpoint("PASSIVE");
    assert!(!busy && frames == copied);
    let reader = app.connect();
    reader.execute_batch(READ).unwrap();
    let before = app.log_header();
    app.commit();
    assert_eq!(app.log_header().salt1, before.salt1.wrapping_add(1));
}

#[test]
fn a_reader_of_a_log_with_one_more_frame_keeps_it_from_being_restarted() {
    let app = App::new();
    app.checkpoint("PASSIVE");
    app.commit();
    let reader = app.connect();
    reader.execute_batch(READ).unwrap();
    let before = app.log_header();
    for _ in 0..3 {
        app.checkpoint("PASSIVE");
        app.commit();
        assert_eq!(app.log_header(), before);
    }
    app.connection
        .busy_timeout(std::time::Duration::ZERO)
        .unwrap();
    for mode in ["FULL", "RESTART", "TRUNCATE"] {
        let (busy, ..) = app.checkpoint(mode);
        assert!(busy, "{mode}");
        app.commit();
        assert_eq!(app.log_header(), before, "{mode}");
    }
}

#[test]
fn behind_a_write_barrier_everything_is_copied_and_nobody_appends() {
    let app = App::new();
    let (barrier, copier) = (app.connect(), app.connect());
    barrier
        .execute_batch("CREATE TABLE barrier (id INTEGER)")
        .unwrap();
    super::rows(&copier);
    for _ in 0..50 {
        app.commit();
    }
    barrier
        .execute_batch("BEGIN IMMEDIATE; INSERT INTO barrier VALUES (1)")
        .unwrap();
    let (busy, frames, copied) = checkpoint(&copier, "PASSIVE");
    assert!(!busy);
    assert_eq!(copied, frames);
    assert!(frames >= 50, "{frames}");
    app.connection
        .busy_timeout(std::time::Duration::ZERO)
        .unwrap();
    let refused = app.connection.execute("INSERT INTO t (x) VALUES (1)", []);
    assert_eq!(
        refused.unwrap_err().sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy)
    );
    let before = app.log_header();
    barrier.execute_batch("ROLLBACK").unwrap();
    assert_eq!(app.log_header(), before);
    commit(&app.connection);
    assert_eq!(
        app.log_header().salt1,
        before.salt1.wrapping_add(1),
        "the next writer restarts the log"
    );
}
