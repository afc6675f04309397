//! One process at a time uses the state directory of a database.
//!
//! The lock is one of the kernel on a file in that directory, so it ends with its holder, however
//! that ends. The database itself is never locked here: closing a descriptor of it would drop the
//! locks that SQLite holds for this process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::{Error, Result};

const NAME: &str = "lock";
/// How often, and how soon, a lock is tried again: whoever asks for its holder has it for a moment.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Longest text of a process id.
const PID_LEN_MAX: u64 = 20;

/// The right to use a state directory, for as long as it lives.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::{StateLock, holder};
///
/// let directory = folder.path().join(".app.db-litestream");
/// let lock = StateLock::acquire(&directory)?;
/// assert_eq!(holder(&directory), Some(std::process::id()));
/// assert!(StateLock::acquire(&directory).is_err());
/// drop(lock);
/// assert_eq!(holder(&directory), None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of a state directory, which is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Conflict`] if another process has it, or another part of this one;
    /// [`crate::ErrorKind::Unavailable`] if the directory cannot be used.
    pub fn acquire(meta: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::unavailable(format!(
                "cannot lock the state directory {}",
                meta.display()
            ))
            .with_source(error)
        };
        let folder = DirBuilder::new().recursive(true).mode(0o700).create(meta);
        folder.map_err(failed)?;
        for _ in 0..TRIES {
            if let Some(file) = try_lock(&meta.join(NAME)).map_err(failed)? {
                write_pid(&file).map_err(failed)?;
                return Ok(Self { _file: file });
            }
            std::thread::sleep(PAUSE);
        }
        Err(Error::conflict(format!(
            "the state directory {} is used by {}",
            meta.display(),
            holder_text(holder(meta))
        )))
    }
}

/// The process that uses a state directory; `None` if nobody does, or it cannot be told.
#[must_use]
pub fn holder(meta: &Path) -> Option<u32> {
    let mut file = open(&meta.join(NAME), false).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file).ok()?,
        _ => None,
    }
}

fn holder_text(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => {
            format!("another Lockkeeper of this process (pid {pid})")
        }
        Some(pid) => format!("the process with pid {pid}: stop it first"),
        None => "another process: stop it first".into(),
    }
}

/// `None` if somebody else has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = open(path, true)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // If the file was removed meanwhile, somebody else may have locked the one that came after it.
    let (ours, named) = (file.metadata()?, path.symlink_metadata());
    let is_named = named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
    Ok(is_named.then_some(file))
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

fn write_pid(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> io::Result<Option<u32>> {
    let mut text = String::new();
    file.take(PID_LEN_MAX).read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_state_directory_has_one_user_and_says_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join(".app.db-litestream");
        assert_eq!(holder(&meta), None);
        let lock = StateLock::acquire(&meta).unwrap();
        assert_eq!(holder(&meta), Some(std::process::id()));
        let error = StateLock::acquire(&meta).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let text = error.to_string();
        assert!(text.contains(&meta.display().to_string()), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(lock);
        assert_eq!(holder(&meta), None);
        StateLock::acquire(&meta).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let lock = StateLock::acquire(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        let second = StateLock::acquire(dir.path()).unwrap();
        assert!(StateLock::acquire(dir.path()).is_err());
        drop((lock, second));
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let meta = dir.path().join("meta");
        std::fs::create_dir(&meta).unwrap();
        std::os::unix::fs::symlink(&victim, meta.join(NAME)).unwrap();
        let error = StateLock::acquire(&meta).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
