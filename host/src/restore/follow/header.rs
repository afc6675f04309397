use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

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
        let mut pages = [0; 4];
        file.read_exact_at(&mut pages, PAGE_COUNT)?;
        mark_changed(file, change_counter(file)?, u32::from_be_bytes(pages))?;
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
