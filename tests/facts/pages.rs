//! Reading pages through SQLite's own descriptor.
#![expect(
    unsafe_code,
    reason = "file pointers and page reads exist in SQLite's C interface only"
)]

use std::ffi::{c_int, c_void};

use libsqlite3_sys as ffi;
use lockkeeper_tests::database;
use lockkeeper_tests::kernel::locks_on;
use rusqlite::Connection;

use super::{App, OtherProcess};

const PAGE_BYTES: usize = 4096;

/// The file object of the main database, which lives as long as its connection.
fn file_of(connection: &Connection) -> (*mut ffi::sqlite3_file, &ffi::sqlite3_io_methods) {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is open, "main" always exists, and the opcode stores one pointer.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast::<c_void>(),
        )
    };
    assert_eq!(code, ffi::SQLITE_OK);
    // SAFETY: SQLite filled in the pointer; methods of an open file live as long as its connection.
    let methods = unsafe { (*file).pMethods.as_ref() };
    (file, methods.unwrap())
}

/// Reads from the file of a connection that is in a read transaction.
fn read(connection: &Connection, offset: usize, len: usize) -> Vec<u8> {
    let (file, methods) = file_of(connection);
    let mut buffer = vec![0; len];
    // SAFETY: the file is open, and `xRead` writes at most the length of the buffer.
    let code = unsafe {
        methods.xRead.unwrap()(
            file,
            buffer.as_mut_ptr().cast::<c_void>(),
            c_int::try_from(len).unwrap(),
            i64::try_from(offset).unwrap(),
        )
    };
    assert_eq!(code, ffi::SQLITE_OK);
    buffer
}

fn file_size(connection: &Connection) -> usize {
    let (file, methods) = file_of(connection);
    let mut size = 0;
    // SAFETY: the file is open, and the out-pointer outlives the call.
    let code = unsafe { methods.xFileSize.unwrap()(file, &raw mut size) };
    assert_eq!(code, ffi::SQLITE_OK);
    usize::try_from(size).unwrap()
}

/// What SQLite reports as the version of the content, without reading anything.
fn version_control(connection: &Connection) -> u32 {
    let mut version = 0_u32;
    // SAFETY: the handle is open, and the opcode stores one 32-bit number.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_DATA_VERSION,
            (&raw mut version).cast::<c_void>(),
        )
    };
    assert_eq!(code, ffi::SQLITE_OK);
    version
}

#[test]
fn pages_are_read_through_the_descriptor_of_a_connection_and_its_locks_stay() {
    let mut app = App::new();
    for _ in 0..200 {
        app.commit();
    }
    app.checkpoint("PASSIVE");
    let ours = app.connect();
    ours.execute_batch("BEGIN; SELECT COUNT(*) FROM t").unwrap();
    let locks = locks_on(&app.path);
    let truth = database::bytes(&mut app.connection);
    assert_eq!(file_size(&ours), truth.len());
    for (page, bytes) in truth.chunks(PAGE_BYTES).enumerate() {
        assert_eq!(read(&ours, page * PAGE_BYTES, PAGE_BYTES), bytes);
    }
    assert_eq!(read(&ours, 0, truth.len()), truth, "many pages in one call");
    assert_eq!(locks_on(&app.path), locks);
}

#[test]
fn pages_without_a_frame_before_the_mark_of_a_reader_stay_as_they_are_in_the_file() {
    let app = App::new();
    for _ in 0..200 {
        app.commit();
    }
    app.connection
        .execute_batch("CREATE TABLE mark (id INTEGER)")
        .unwrap();
    app.checkpoint("PASSIVE");
    app.connection
        .execute_batch("INSERT INTO mark VALUES (1)")
        .unwrap();
    let reader = app.connect();
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    let size = file_size(&reader);
    let before = read(&reader, 0, size);
    app.connection
        .execute("UPDATE t SET x = randomblob(100)", [])
        .unwrap();
    let (_, frames, copied) = app.checkpoint("PASSIVE");
    assert_eq!(copied, 1, "of {frames} frames, that of the mark");
    let after = read(&reader, 0, size);
    let changed: Vec<usize> = (0..size / PAGE_BYTES)
        .filter(|page| {
            let bytes = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
            before[bytes.clone()] != after[bytes]
        })
        .map(|page| page + 1)
        .collect();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'mark'";
    let root: i64 = app
        .connection
        .query_row(root, [], |row| row.get(0))
        .unwrap();
    assert_eq!(changed, [usize::try_from(root).unwrap()]);
}

#[test]
fn the_version_of_the_content_changes_with_commits_of_other_connections_and_processes() {
    let app = App::new();
    let watcher = app.connect();
    let version = || -> u32 {
        watcher
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .unwrap()
    };
    let mut seen = vec![version(), version()];
    assert_eq!(seen[0], seen[1], "nothing was committed");
    app.commit();
    seen.push(version());
    let mut other = OtherProcess::start(&app);
    seen.push(version());
    other.commit();
    seen.push(version());
    seen.dedup();
    assert_eq!(seen.len(), 4, "one value per change: {seen:?}");
    let ours = version();
    watcher
        .execute_batch("CREATE TABLE own (id INTEGER)")
        .unwrap();
    assert_eq!(version(), ours, "its own commits do not count");
}

#[test]
fn the_version_control_notices_nothing_before_the_connection_reads() {
    let app = App::new();
    let watcher = app.connect();
    super::rows(&watcher);
    let before = version_control(&watcher);
    app.commit();
    assert_eq!(version_control(&watcher), before);
    super::rows(&watcher);
    assert_ne!(version_control(&watcher), before);
}
