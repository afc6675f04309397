//! One SQLite connection of ours, and the few calls that need SQLite's C interface.
#![expect(
    unsafe_code,
    reason = "checkpoint counters and page reads exist in SQLite's C interface only"
)]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use libsqlite3_sys as ffi;
use lockkeeper_ltx::{Pgno, WAL_INDEX_BLOCK_LEN, WAL_INDEX_LEN, WalIndexHeader, wal_index_place};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// First version without the WAL-reset bug, in which a writer that races a checkpoint loses pages.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Pages that a connection keeps when nothing uses them. Ours write one row at a time, and read the
/// pages of a snapshot past the cache.
const CACHE_PAGES: u32 = 2;
/// Bytes that SQLite maps of a wal-index at a time.
const SHM_REGION_LEN: c_int = WAL_INDEX_BLOCK_LEN as c_int;
/// How often the index is read while a writer is changing it.
const INDEX_TRIES: u32 = 10_000;

/// How a checkpoint treats readers and writers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CheckpointMode {
    /// Copies what it can, waits for nobody.
    Passive,
    /// Copies everything, then empties the log file.
    Truncate,
}

/// Opens a database that exists, for reading and writing.
pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::invalid(format!(
            "SQLite {} is linked, which can lose committed pages when a writer races a checkpoint; \
             link 3.51.3 or later",
            rusqlite::version()
        )));
    }
    let fail = |error: rusqlite::Error| {
        Error::unavailable(format!("cannot open the database {}", path.display()))
            .with_source(error)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    no_lookaside(&connection).map_err(fail)?;
    connection.busy_timeout(busy_timeout).map_err(fail)?;
    // With so few, pages are allocated one by one. By then the schema was read, with room for
    // twenty; that room goes.
    connection
        .pragma_update(None, "cache_size", CACHE_PAGES)
        .and_then(|()| connection.execute_batch("PRAGMA shrink_memory"))
        .map_err(fail)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", 0)
        .map_err(fail)?;
    // A checkpoint is capture's to decide. One on closing could even write an old log into a
    // database whose log was replaced meanwhile.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(fail)?;
    keep_log_on_close(&connection);
    Ok(connection)
}

/// Keeps SQLite from setting memory aside for small allocations, which only a busy connection
/// needs: there may be thousands of databases, each with three of ours.
fn no_lookaside(connection: &Connection) -> rusqlite::Result<()> {
    // SAFETY: the handle is open and nothing was asked of it yet, as the opcode demands; it takes a
    // buffer, of which none is given, and two ints.
    let code = unsafe {
        ffi::sqlite3_db_config(
            connection.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            std::ptr::null_mut::<c_void>(),
            0 as c_int,
            0 as c_int,
        )
    };
    if code != ffi::SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    }
    Ok(())
}

/// Whether SQLite reads the file as a database. Leaves its log as it is.
pub(crate) fn is_database(path: &Path) -> bool {
    // SQLite takes an empty file for a database, but nothing was ever committed to it.
    let holds_something = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    holds_something
        && open(path, Duration::ZERO).is_ok_and(|connection| {
            let version = connection.query_row("PRAGMA schema_version", [], |_| Ok(()));
            version.is_ok()
        })
}

/// Asks SQLite not to delete the log when this connection is the last to close: without it the
/// next start could not tell what was written meanwhile.
fn keep_log_on_close(connection: &Connection) {
    let mut on: c_int = 1;
    // SAFETY: the handle is open, "main" always exists, and the opcode takes a pointer to an int
    // that outlives the call.
    unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_PERSIST_WAL,
            (&raw mut on).cast::<c_void>(),
        );
    }
}

/// Reads the state of the log, at any time and without a lock, from the memory that SQLite shares
/// between its connections. The connection must have read the database before.
pub(super) fn log_state(connection: &Connection) -> Result<WalIndexHeader> {
    for _ in 0..INDEX_TRIES {
        if let Some(header) = log_state_now(connection)? {
            return Ok(header);
        }
        // Between its two copies a writer takes less time than this.
        std::thread::yield_now();
    }
    Err(Error::unavailable(
        "the index of the log is not readable: a process died while it wrote it; the next \
         transaction of any process repairs it",
    ))
}

/// As [`log_state`], without waiting: `None` while a writer changes it.
pub(super) fn log_state_now(connection: &Connection) -> Result<Option<WalIndexHeader>> {
    let words = index_block(connection, 0)?;
    let mut bytes = [0; WAL_INDEX_LEN];
    for (at, word) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        // SAFETY: a block is larger than the header, aligned to a page, and mapped; other processes
        // may write to it, so each word is read once, as it is.
        *word = unsafe { words.add(at).read_volatile() }.to_ne_bytes();
    }
    Ok(WalIndexHeader::parse(&bytes))
}

/// The pages in the frames `frames`, as the index of the log lists them; `None` if it does not.
/// That they are still of the same log is to be checked afterwards.
pub(super) fn listed_pages(
    connection: &Connection,
    frames: Range<u64>,
) -> Result<Option<Vec<Pgno>>> {
    let mut pages = Vec::new();
    let mut mapped = None;
    for frame in frames {
        let (block, at) = wal_index_place(frame);
        let words = match mapped {
            Some((of, words)) if of == block => words,
            _ => index_block(connection, block)?,
        };
        mapped = Some((block, words));
        let at = usize::try_from(at).unwrap_or(0);
        // SAFETY: a place is within its block, which is mapped; other processes may write to it, so
        // each word is read once, as it is.
        let number = unsafe { words.add(at).read_volatile() };
        let Some(pgno) = Pgno::new(number) else {
            return Ok(None);
        };
        pages.push(pgno);
    }
    // What is read next of the index is newer than all of this.
    fence(Ordering::Acquire);
    Ok(Some(pages))
}

/// Where a block of the wal-index is in memory: [`WAL_INDEX_BLOCK_LEN`] bytes, for as long as the
/// connection is open.
fn index_block(connection: &Connection, block: u64) -> Result<*const u32> {
    let number = c_int::try_from(block)
        .map_err(|_| Error::internal("the index of the log has too many blocks"))?;
    let file = database_file(connection)?;
    let mut index: *mut c_void = std::ptr::null_mut();
    // SAFETY: `file` lives as long as the connection, and so do its methods. The connection has its
    // log open, so what is mapped stays mapped as long as it is. A block that is not there is not
    // made.
    let code = unsafe {
        match (*file)
            .pMethods
            .as_ref()
            .and_then(|methods| methods.xShmMap)
        {
            Some(map) => map(file, number, SHM_REGION_LEN, 0, &raw mut index),
            None => {
                return Err(Error::invalid(
                    "this build of SQLite does not share the index of the log",
                ));
            }
        }
    };
    if code != ffi::SQLITE_OK || index.is_null() {
        return Err(sqlite_error("cannot read the index of the log", code));
    }
    Ok(index.cast::<u32>().cast_const())
}

/// Runs a checkpoint. `false` if a reader or another checkpoint kept it from finishing.
///
/// It waits for nobody: while it waited for a reader to end, it would keep writers out.
pub(super) fn checkpoint(connection: &Connection, mode: CheckpointMode) -> Result<bool> {
    let mode = match mode {
        CheckpointMode::Passive => ffi::SQLITE_CHECKPOINT_PASSIVE,
        CheckpointMode::Truncate => ffi::SQLITE_CHECKPOINT_TRUNCATE,
    };
    let wait = BusyTimeout::off(connection)?;
    let (mut frames, mut backfilled): (c_int, c_int) = (-1, -1);
    // SAFETY: the handle is open and both out-pointers outlive the call.
    let code = unsafe {
        ffi::sqlite3_wal_checkpoint_v2(
            connection.handle(),
            c"main".as_ptr(),
            mode,
            &raw mut frames,
            &raw mut backfilled,
        )
    };
    drop(wait);
    match code {
        ffi::SQLITE_OK => Ok(frames == backfilled),
        ffi::SQLITE_BUSY => Ok(false),
        _ => Err(sqlite_error("cannot checkpoint the log", code)),
    }
}

/// The busy timeout of a connection, turned off for as long as this lives.
struct BusyTimeout<'a> {
    connection: &'a Connection,
    configured: Duration,
}

impl<'a> BusyTimeout<'a> {
    fn off(connection: &'a Connection) -> Result<Self> {
        let fail = |error: rusqlite::Error| {
            Error::unavailable("cannot set the busy timeout").with_source(error)
        };
        let configured: u32 = connection
            .query_row("PRAGMA busy_timeout", [], |row| row.get(0))
            .map_err(fail)?;
        connection.busy_timeout(Duration::ZERO).map_err(fail)?;
        Ok(Self {
            connection,
            configured: Duration::from_millis(configured.into()),
        })
    }
}

impl Drop for BusyTimeout<'_> {
    fn drop(&mut self) {
        // It was set before, so it can be set again.
        let _ = self.connection.busy_timeout(self.configured);
    }
}

/// The file object of the database, which lives as long as the connection.
fn database_file(connection: &Connection) -> Result<*mut ffi::sqlite3_file> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is open, and the opcode stores a pointer.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast::<c_void>(),
        )
    };
    if code != ffi::SQLITE_OK || file.is_null() {
        return Err(sqlite_error(
            "SQLite does not give access to the database file",
            code,
        ));
    }
    Ok(file)
}

/// Reads bytes of the database file through SQLite's own descriptor: opening the file a second time
/// and closing it would drop every lock this process holds on it (POSIX). Bytes past the end of
/// the file read as zeros. The connection must be in a read transaction.
pub(super) fn read_database(connection: &Connection, offset: u64, buffer: &mut [u8]) -> Result<()> {
    let file = database_file(connection)?;
    let (Ok(len), Ok(offset)) = (c_int::try_from(buffer.len()), i64::try_from(offset)) else {
        return Err(Error::internal("a read of the database is too large"));
    };
    // SAFETY: `file` lives as long as the connection, and so do its methods; `xRead`
    // writes at most `len` bytes, the length of `buffer`.
    let code = unsafe {
        let Some(methods) = (*file).pMethods.as_ref() else {
            return Err(Error::internal(
                "the database file of a connection is closed",
            ));
        };
        let Some(read) = methods.xRead else {
            return Err(Error::internal("the database file cannot be read"));
        };
        read(file, buffer.as_mut_ptr().cast::<c_void>(), len, offset)
    };
    match code {
        ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => Ok(()),
        _ => Err(sqlite_error("cannot read the database file", code)),
    }
}

fn sqlite_error(what: &str, code: c_int) -> Error {
    Error::unavailable(what)
        .with_source(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
}
