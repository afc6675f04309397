//! Small files that are replaced only if nobody else replaced them meanwhile.
//!
//! A lock file beside the object keeps other processes out between the look and the rename. The
//! kernel drops the lock when its holder ends, however it ends.

use std::fs::TryLockError;
use std::io::{self, Read as _};

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::file::{FILE_MODE, NewObject, Publish, open_object_in};
use super::{Expected, SMALL_LEN_MAX, Version};
use crate::clock;

/// Ends the name of the lock file of an object.
const LOCK_SUFFIX: &str = ".lock";

/// What came of an attempt.
pub(super) enum Swapped {
    /// The object is written.
    Done(Version),
    /// The object is not as expected.
    Conflict,
    /// Another process is writing it at this moment.
    Busy,
}

/// Replaces the object `name` in `folder` if it is as `expected`.
pub(super) fn swap(
    folder: Dir,
    name: &str,
    bytes: &Bytes,
    expected: Expected<'_>,
) -> io::Result<Swapped> {
    let Some(_lock) = Lock::take(&folder, name)? else {
        return Ok(Swapped::Busy);
    };
    let found = read(&folder, name)?.map(|bytes| version(&bytes));
    if !expected.is_met(found.as_ref()) {
        return Ok(Swapped::Conflict);
    }
    let object = NewObject::create_in(folder, name)?.write(bytes)?;
    object.keep(name, clock::now_ms(), Publish::Replacing)?;
    Ok(Swapped::Done(version(bytes)))
}

/// Reads an object as a whole; `None` if there is none.
pub(super) fn read(folder: &Dir, name: &str) -> io::Result<Option<Bytes>> {
    let Some(file) = open_object_in(folder, name)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(SMALL_LEN_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// A file has no version but its content.
pub(super) fn version(bytes: &[u8]) -> Version {
    let digest = Sha256::digest(bytes);
    Version {
        tag: Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
        number: None,
    }
}

/// Held for as long as it lives.
struct Lock {
    _file: std::fs::File,
}

impl Lock {
    /// `None` if another process has it.
    fn take(folder: &Dir, name: &str) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .mode(FILE_MODE)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = folder.open_with(format!("{name}{LOCK_SUFFIX}"), &options)?;
        let file = file.into_std();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some network file systems have no locks; there the look has to do.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                tracing::warn!(%error, "the file system of the replica has no locks");
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Some(Self { _file: file }))
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    let lacking = [
        rustix::io::Errno::NOLCK,
        rustix::io::Errno::OPNOTSUPP,
        rustix::io::Errno::NOSYS,
    ];
    let code = error.raw_os_error();
    lacking
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn nothing_is_written_while_another_process_writes() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        let swap = |text: &'static str| swap(open(), "a", &text.into(), Expected::Absent).unwrap();
        let lock = Lock::take(&open(), "a").unwrap();
        assert!(lock.is_some());
        assert!(matches!(swap("one"), Swapped::Busy));
        assert!(read(&open(), "a").unwrap().is_none());
        drop(lock);
        assert!(matches!(swap("one"), Swapped::Done(_)));
        assert!(matches!(swap("two"), Swapped::Conflict));
        assert_eq!(read(&open(), "a").unwrap().unwrap(), "one");
    }
}
