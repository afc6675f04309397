//! Where this process writes replicas: no two databases at one place.

use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// The folders below the root of a replica that belong to it.
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
        let place = canonical(folder);
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
            Some(Component::Normal(name)) => FOLDERS.iter().any(|folder| name == *folder),
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
