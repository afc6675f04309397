//! Proving that nothing was missed across a restart of the log.

use lockkeeper_tests::database::{self, wal};

use super::{App, commit};

#[test]
fn a_restart_adds_one_to_the_sequence_and_to_the_first_salt_after_every_kind_of_checkpoint() {
    let app = App::new();
    let mut second_salts = vec![app.log_header().salt2];
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        for _ in 0..3 {
            let before = app.log_header();
            let (busy, ..) = app.checkpoint(mode);
            assert!(!busy, "{mode}");
            app.commit();
            let after = app.log_header();
            assert_eq!(after.checkpoint_seq, before.checkpoint_seq + 1, "{mode}");
            assert_eq!(after.salt1, before.salt1.wrapping_add(1), "{mode}");
            second_salts.push(after.salt2);
        }
    }
    let count = second_salts.len();
    second_salts.sort_unstable();
    second_salts.dedup();
    assert_eq!(second_salts.len(), count, "the second salt is random");
}

#[test]
fn two_restarts_between_two_looks_make_a_step_of_two() {
    let app = App::new();
    let before = app.log_header();
    for _ in 0..2 {
        app.checkpoint("PASSIVE");
        app.commit();
    }
    let after = app.log_header();
    assert_eq!(after.salt1, before.salt1.wrapping_add(2));
    assert_eq!(after.checkpoint_seq, before.checkpoint_seq + 2);
}

#[test]
fn a_truncated_log_is_empty_until_the_next_commit() {
    let app = App::new();
    app.checkpoint("TRUNCATE");
    let size = || std::fs::metadata(wal(&app.path)).unwrap().len();
    assert_eq!(size(), 0);
    app.rows();
    assert_eq!(size(), 0, "a read writes nothing");
    app.commit();
    assert!(size() > 0);
}

#[test]
fn the_last_connection_deletes_the_log_and_the_next_one_is_unrelated() {
    let app = App::new();
    app.checkpoint("PASSIVE");
    app.commit();
    let before = app.log_header();
    assert!(before.checkpoint_seq > 0);
    let App {
        _dir: dir,
        path,
        connection,
    } = app;
    drop(connection);
    assert!(!wal(&path).exists());
    let connection = database::open_without_checkpoints(&path);
    commit(&connection);
    let app = App {
        _dir: dir,
        path,
        connection,
    };
    let after = app.log_header();
    assert_eq!(after.checkpoint_seq, 0);
    // One in four thousand million runs has this step by chance.
    assert_ne!(after.salt1, before.salt1.wrapping_add(1));
}
