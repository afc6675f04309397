//! Which save of each scope was the newest when this machine last looked.
//!
//! Who writes to a database through SQL can put all of it back to an earlier state, seals
//! included. They cannot write this file beside it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result, paths};

/// Larger than the sequences of any sensible number of scopes.
const FILE_MAX: u64 = 64 * 1024;

/// The file beside one database.
#[derive(Debug)]
pub(super) struct Seen {
    path: PathBuf,
}

impl Seen {
    /// That of the database at `path`; nothing is read yet.
    pub(super) fn beside(database: &Path) -> Self {
        let database = paths::resolve(database);
        let mut name = OsString::from(".");
        name.push(database.file_name().unwrap_or_default());
        name.push("-config-seen");
        Self {
            path: database.with_file_name(name),
        }
    }

    /// The newest sequence of `scope`, if one was ever seen here.
    pub(super) fn newest(&self, scope: &str) -> Result<Option<i64>> {
        Ok(self.read()?.get(scope).copied())
    }

    /// The newest sequence of every scope.
    pub(super) fn read(&self) -> Result<BTreeMap<String, i64>> {
        let failed = |error| {
            Error::unavailable(format!("cannot read {}", self.path.display())).with_source(error)
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(FILE_MAX + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        let parsed = (text.len() as u64 <= FILE_MAX).then(|| serde_json::from_slice(&text).ok());
        parsed.flatten().ok_or_else(|| {
            Error::corrupt(format!(
                "{} is damaged: check that the stored configuration is the one you want, and \
                 delete that file",
                self.path.display()
            ))
        })
    }

    /// Notes that `sequence` of `scope` was seen, unless a newer one was.
    pub(super) fn note(&self, scope: &str, sequence: i64) {
        if let Err(error) = self.try_note(scope, sequence) {
            // What was saved is saved; only a later replay could go by unnoticed.
            tracing::warn!(
                file = %self.path.display(), %error,
                "cannot note which configuration is the newest"
            );
        }
    }

    fn try_note(&self, scope: &str, sequence: i64) -> Result<()> {
        let mut seen = self.read()?;
        if seen.get(scope).is_some_and(|newest| *newest >= sequence) {
            return Ok(());
        }
        seen.insert(scope.to_owned(), sequence);
        self.write(&seen)
    }

    /// Replaces what is noted.
    pub(super) fn write(&self, seen: &BTreeMap<String, i64>) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("cannot write {}", self.path.display())).with_source(error)
        };
        let text = serde_json::to_vec(seen).map_err(|error| failed(error.into()))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(&text)
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        file.persist(&self.path)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Forgets everything: another database takes the place of the old one.
    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let message = format!("cannot delete {}", self.path.display());
                Err(Error::unavailable(message).with_source(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_only_grows_and_is_one_of_its_scope() {
        let dir = tempfile::tempdir().unwrap();
        let seen = Seen::beside(&dir.path().join("app.db"));
        assert_eq!(seen.newest("a").unwrap(), None);
        for (scope, sequence) in [("a", 2), ("b", 9), ("a", 1)] {
            seen.note(scope, sequence);
        }
        assert_eq!(seen.newest("a").unwrap(), Some(2));
        assert_eq!(seen.newest("b").unwrap(), Some(9));
        seen.forget().unwrap();
        seen.forget().unwrap();
        assert_eq!(seen.newest("a").unwrap(), None);
    }

    #[test]
    fn a_database_has_one_such_file_under_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("app.db"), "").unwrap();
        std::os::unix::fs::symlink("app.db", dir.path().join("link.db")).unwrap();
        Seen::beside(&dir.path().join("link.db")).note("a", 1);
        let seen = Seen::beside(&dir.path().join("app.db"));
        assert_eq!(seen.newest("a").unwrap(), Some(1));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let seen = Seen::beside(&dir.path().join("app.db"));
        let large = "9".repeat(FILE_MAX as usize + 1);
        for text in ["", "{\"a\": 1", "[]", "{\"a\": \"1\"}", &large] {
            std::fs::write(&seen.path, text).unwrap();
            assert!(seen.newest("a").is_err());
            seen.note("a", 1);
            assert!(seen.newest("a").is_err(), "it was overwritten");
        }
    }
}
