//! An application's database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// How long a connection waits for the lock of another.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens or makes a database in WAL mode, as an application does.
#[must_use]
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("open the database");
    connection.busy_timeout(BUSY_TIMEOUT).unwrap();
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .expect("switch to WAL mode");
    assert_eq!(mode, "wal");
    connection
}

/// As [`open`], but checkpoints happen only when a test asks for them.
#[must_use]
pub fn open_without_checkpoints(path: &Path) -> Connection {
    let connection = open(path);
    connection
        .pragma_update(None, "wal_autocheckpoint", 0)
        .unwrap();
    connection
}

/// The database as this connection sees it, byte for byte: what the file would hold if the log were
/// copied into it now.
///
/// SQLite reads every page through its own descriptors, so no lock is lost, and it changes nothing;
/// the backup API would rewrite parts of the first page.
#[must_use]
pub fn bytes(connection: &mut Connection) -> Vec<u8> {
    connection
        .serialize("main")
        .expect("read every page")
        .to_vec()
}

/// Fails unless two images of a database are equal; says where they differ.
#[track_caller]
pub fn assert_same_bytes(found: &[u8], truth: &[u8], what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}: size");
    let differ: Vec<usize> = (0..truth.len()).filter(|&i| found[i] != truth[i]).collect();
    assert!(
        differ.is_empty(),
        "{what}: {} bytes differ, the first at {:?}",
        differ.len(),
        differ.first()
    );
}

/// Runs `PRAGMA integrity_check`.
#[track_caller]
pub fn assert_sound(connection: &Connection) {
    let found: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("check the database");
    assert_eq!(found, "ok");
}

/// The `-wal` of a database.
#[must_use]
pub fn wal(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// The `-shm` of a database.
#[must_use]
pub fn shm(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

/// The local state directory of a database, where Litestream and lockkeeper keep it.
#[must_use]
pub fn state_directory(database: &Path) -> PathBuf {
    let name = database.file_name().expect("a database has a name");
    database.with_file_name(format!(".{}-litestream", name.to_str().unwrap()))
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
