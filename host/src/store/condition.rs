//! Writes that depend on what is there.

use super::key::Key;
use crate::{Error, Result};

/// Largest object that is read and written as a whole, in bytes: many times what its text needs,
/// and nothing to the memory.
pub const SMALL_LEN_MAX: usize = 64 << 10;

/// What a store tells the versions of one object apart by. Another store gives other versions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Version {
    pub(super) tag: Option<String>,
    pub(super) number: Option<String>,
}

/// What must be there for a write to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected<'a> {
    /// No object.
    Absent,
    /// The object in this version.
    Version(&'a Version),
}

impl Expected<'_> {
    /// Whether what is there is as expected.
    pub(super) fn is_met(self, found: Option<&Version>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if `len` bytes are too many for a small object.
pub(super) fn check_small(key: &Key, len: usize) -> Result<()> {
    if len > SMALL_LEN_MAX {
        return Err(Error::invalid(format!(
            "{len} bytes are too many for {key} (at most {SMALL_LEN_MAX})"
        )));
    }
    Ok(())
}

/// What is there is larger than a small object.
pub(super) fn too_large(key: &Key) -> Error {
    Error::corrupt(format!(
        "{key} is larger than {SMALL_LEN_MAX} bytes, so it is not what it should be"
    ))
}
