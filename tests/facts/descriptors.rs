//! POSIX: closing any descriptor of a file drops every lock that the process holds on it.

use std::fs::File;
use std::io::Read;

use lockkeeper_tests::database::{shm, wal};
use lockkeeper_tests::kernel::locks_on;

use super::{App, OtherProcess, visit};

#[test]
fn reading_the_database_file_and_closing_it_drops_every_lock_on_it() {
    let app = App::new();
    assert_eq!(locks_on(&app.path), 1);
    let mut header = [0; 16];
    File::open(&app.path)
        .unwrap()
        .read_exact(&mut header)
        .unwrap();
    assert_eq!(&header, b"SQLite format 3\0");
    assert_eq!(locks_on(&app.path), 0);
}

#[test]
fn closing_a_descriptor_of_the_shm_drops_every_lock_on_it() {
    let app = App::new();
    let reader = app.connect();
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    let shm = shm(&app.path);
    assert_eq!(locks_on(&shm), 2, "in use, and the mark of the reader");
    drop(File::open(&shm).unwrap());
    assert_eq!(locks_on(&shm), 0);
}

#[test]
fn closing_a_descriptor_of_the_log_is_harmless() {
    let app = App::new();
    let locks = || (locks_on(&app.path), locks_on(&shm(&app.path)));
    let before = locks();
    std::fs::read(wal(&app.path)).unwrap();
    assert_eq!(locks(), before);
    assert_eq!(locks_on(&wal(&app.path)), 0, "SQLite locks nothing on it");
    visit(&app);
    assert!(wal(&app.path).exists());
}

#[test]
fn with_its_locks_in_place_a_visit_of_another_process_leaves_the_log_and_every_row() {
    let app = App::new();
    visit(&app);
    assert!(wal(&app.path).exists());
    app.commit();
    assert_eq!(visit(&app), 2);
}

#[test]
fn without_its_locks_another_process_deletes_the_log_and_the_next_commit_is_lost() {
    let app = App::new();
    drop(File::open(&app.path).unwrap());
    drop(File::open(shm(&app.path)).unwrap());
    visit(&app);
    assert!(
        !wal(&app.path).exists(),
        "the visitor thought that it was the last"
    );
    app.commit();
    assert_eq!(app.rows(), 2, "the commit looked like one");
    assert_eq!(visit(&app), 1, "and nobody else ever sees it");
}

#[test]
fn a_process_that_stays_does_not_delete_the_log_when_another_leaves() {
    let app = App::new();
    let mut other = OtherProcess::start(&app);
    other.commit();
    other.close();
    assert!(wal(&app.path).exists());
    assert!(locks_on(&app.path) > 0);
}
