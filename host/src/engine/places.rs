//! Where this process writes replicas: no two databases at one place.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lockkeeper_ltx::Level;

use crate::{Error, Result};

/// The folders below the root of a replica that belong to it; those of levels in S3 have numbers.
const FOLDERS: [&str; 2] = ["ltx", "generations"];

/// Every place that is in use, over all engines of the process.
static IN_USE: Mutex<Vec<Used>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Used {
    place: PathBuf,
    database: PathBuf,
}

/// A place that nobody else in this process writes to, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Takes the place of a replica in a folder, for `database`.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Conflict`] if another database has it, or one whose files would mix with
    /// these.
    pub(super) fn take(folder: &Path, database: &Path) -> Result<Self> {
        Self::take_exactly(canonical(folder), database)
    }

    /// The same for a replica in a bucket, by a name that begins with that of the service and is no
    /// path from the root of a file system.
    ///
    /// # Errors
    ///
    /// As [`Self::take`].
    pub(super) fn take_in_bucket(name: PathBuf, database: &Path) -> Result<Self> {
        Self::take_exactly(name, database)
    }

    fn take_exactly(place: PathBuf, database: &Path) -> Result<Self> {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = in_use.iter().find(|used| mix(&used.place, &place)) {
            return Err(Error::conflict(format!(
                "{} and {} have one replica, {}: give each a place of its own",
                other.database.display(),
                database.display(),
                other.place.display()
            )));
        }
        in_use.push(Used {
            place: place.clone(),
            database: database.to_owned(),
        });
        Ok(Self(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|used| used.place != self.0);
    }
}

/// Whether one replica lies in the other, or where the other keeps its files.
fn mix(a: &Path, b: &Path) -> bool {
    let lies_in = |inner: &Path, outer: &Path| match inner.strip_prefix(outer) {
        Ok(rest) => match rest.components().next() {
            Some(Component::Normal(name)) => {
                let is_level = |level: Level| name == OsStr::new(&format!("{:04x}", level.get()));
                FOLDERS.iter().any(|folder| name == *folder) || Level::all().any(is_level)
            }
            _ => true,
        },
        Err(_) => false,
    };
    lies_in(a, b) || lies_in(b, a)
}

/// The place that a path leads to, whether it exists or not: what exists of it without links, the
/// rest without dots.
fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut place = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // What exists is without links already, so this leads where the kernel would go.
            Component::ParentDir => {
                place.pop();
            }
            other => {
                place.push(other);
                if let Ok(real) = place.canonicalize() {
                    place = real;
                }
            }
        }
    }
    place
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn no_two_databases_write_to_one_place_in_a_bucket() {
        let take = |name: &str| Place::take_in_bucket(name.into(), Path::new("a.db"));
        let _first = take("s3:here/b/p").unwrap();
        for taken in ["s3:here/b/p", "s3:here/b/p/", "s3:here/b/p/0000/x"] {
            assert!(take(taken).is_err(), "{taken}");
        }
        for free in [
            "s3:here/b/q",
            "s3:there/b/p",
            "gs:here/b/p",
            "s3:here/b/p/a",
        ] {
            assert!(take(free).is_ok(), "{free}");
        }
    }

    #[test]
    fn one_place_has_many_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        for (a, b) in [
            ("real", "real/."),
            ("real", "link"),
            ("real/new/deep", "link/./new/../new/deep"),
            ("new", "real/../new/"),
            ("real", "real/ltx"),
            ("link/ltx/0", "real"),
            ("real/generations/x", "link"),
        ] {
            let first = Place::take(&root.join(a), Path::new("one.db")).unwrap();
            let error = Place::take(&root.join(b), Path::new("two.db")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("one.db") && text.contains("two.db"), "{text}");
            drop(first);
            Place::take(&root.join(b), Path::new("two.db")).unwrap();
        }
    }

    #[test]
    fn replicas_side_by_side_and_one_below_another_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let take = |name: &str| Place::take(&dir.path().join(name), Path::new(name)).unwrap();
        let _all = ["a", "b", "a/b", "a/ltxs", "ltx/a", "a/more/ltx"].map(take);
    }
}
