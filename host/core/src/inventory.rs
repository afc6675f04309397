//! What a replica holds.

use lockkeeper_ltx::{FileName, Level};

/// One LTX file of a replica, as a listing shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplicaFile {
    /// Its level.
    pub level: Level,
    /// Its name, which says what it covers.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// When it was sealed, in milliseconds since the Unix epoch, as the store remembers it.
    pub created_ms: i64,
}
