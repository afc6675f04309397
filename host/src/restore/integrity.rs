use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// What SQLite checks in a restored database.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IntegrityCheck {
    /// Nothing: the checksums of the files were verified anyway.
    #[default]
    None,
    /// `PRAGMA quick_check`.
    Quick,
    /// `PRAGMA integrity_check`: also holds indexes against tables.
    Full,
}

/// Checks the database at `path`, which nobody else has open.
pub(super) fn check(path: &Path, check: IntegrityCheck) -> Result<()> {
    let pragma = match check {
        IntegrityCheck::None => return Ok(()),
        IntegrityCheck::Quick => "PRAGMA quick_check(1)",
        IntegrityCheck::Full => "PRAGMA integrity_check(1)",
    };
    let verdict = open(path)?.query_row(pragma, [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(Error::corrupt(format!("integrity check failed: {verdict}"))),
        Err(e) => Err(Error::corrupt("integrity check failed").with_source(e)),
    }
}

/// An immutable database is opened without a log or shared memory, so no such file is left behind
/// (SQLite, "Uniform Resource Identifiers", section 3.3).
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Some(text) = path.to_str() else {
        return Err(Error::invalid(format!("{} is not text", path.display())));
    };
    let text = text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let uri = format!("file:{text}?mode=ro&immutable=1");
    Connection::open_with_flags(uri, flags)
        .map_err(|e| Error::corrupt("cannot open the restored database").with_source(e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_log_mode_database_is_checked_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a%3f#?.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch("PRAGMA journal_mode=wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
            .unwrap();
        drop(made);
        check(&path, IntegrityCheck::Quick).unwrap();
        check(&path, IntegrityCheck::Full).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        std::fs::write(&path, [7; 8192]).unwrap();
        check(&path, IntegrityCheck::None).unwrap();
        assert!(check(&path, IntegrityCheck::Quick).is_err());
    }
}
