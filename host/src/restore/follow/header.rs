use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use lockkeeper_ltx::sqlite::{self, DatabaseHeader};

use crate::{Error, Result};

/// Where a database header says how the file is read and written (SQLite file format,
/// section 1.3.3); 1 is a rollback journal, 2 a log.
const VERSIONS: u64 = 18;
/// The file change counter, by which connections notice that their caches are stale.
const CHANGE_COUNTER: u64 = 24;
/// The size of the database in pages.
const PAGE_COUNT: u64 = 28;
/// The change counter for which the page count is right.
const VERSION_VALID_FOR: u64 = 92;

/// Makes the restored database `file` one of the rollback-journal mode. In the mode of a log,
/// readers hold no lock that keeps pages from being written under them.
pub(in crate::restore) fn prepare(file: &File) -> Result<()> {
    let make = || {
        let mut header = [0; sqlite::HEADER_LEN];
        file.read_exact_at(&mut header, 0)?;
        let header = DatabaseHeader::parse(&header).map_err(io::Error::other)?;
        // The count in the header may be from before there was one (SQLite file format,
        // section 1.3.8); what is marked as right has to be.
        let pages = file.metadata()?.len() / u64::from(header.page_size.get());
        let pages = u32::try_from(pages).map_err(io::Error::other)?;
        mark_changed(file, change_counter(file)?, pages)?;
        file.sync_all()
    };
    make().map_err(|e| Error::unavailable("cannot write the restored database").with_source(e))
}

/// Whether the database is in rollback-journal mode.
pub(super) fn is_rollback_mode(file: &File) -> io::Result<bool> {
    let mut versions = [0; 2];
    file.read_exact_at(&mut versions, VERSIONS)?;
    Ok(versions == [1, 1])
}

pub(super) fn change_counter(file: &File) -> io::Result<u32> {
    let mut counter = [0; 4];
    file.read_exact_at(&mut counter, CHANGE_COUNTER)?;
    Ok(u32::from_be_bytes(counter))
}

/// Writes the header as a transaction leaves it that follows one with the change counter
/// `previous`.
pub(super) fn mark_changed(file: &File, previous: u32, pages: u32) -> io::Result<()> {
    let counter = previous.wrapping_add(1).to_be_bytes();
    file.write_all_at(&[1, 1], VERSIONS)?;
    file.write_all_at(&counter, CHANGE_COUNTER)?;
    file.write_all_at(&pages.to_be_bytes(), PAGE_COUNT)?;
    file.write_all_at(&counter, VERSION_VALID_FOR)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_database_of_the_log_mode_with_a_stale_page_count_becomes_readable_without_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let made = Connection::open(&path).unwrap();
        let setup = "PRAGMA journal_mode=wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)";
        made.execute_batch(setup).unwrap();
        drop(made);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // As a program left it that knew no count, and so did not mark it as right either.
        file.write_all_at(&[0, 0, 0, 1], PAGE_COUNT).unwrap();
        file.write_all_at(&[9; 4], VERSION_VALID_FOR).unwrap();
        prepare(&file).unwrap();
        assert!(is_rollback_mode(&file).unwrap());
        drop(file);

        let read = Connection::open(&path).unwrap();
        let verdict = read.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(verdict.unwrap(), "ok");
        let mode = read.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "delete");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
