//! Which files of a replica make a database.

use lockkeeper_ltx::Txid;

use crate::inventory::ReplicaFile;

/// The point to restore to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// Everything the replica has.
    Latest,
    /// Exactly this transaction.
    Txid(Txid),
    /// The last file sealed strictly before this time, in milliseconds since the Unix epoch.
    Before(i64),
}

/// The files to read, in order: each continues the one before, newer pages win.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    files: Vec<ReplicaFile>,
}

impl Plan {
    /// The files, oldest first. Never empty; the first is a snapshot.
    #[must_use]
    pub fn files(&self) -> &[ReplicaFile] {
        &self.files
    }
}

/// Why no plan exists.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The replica has no file that could start a database.
    #[error("no matching backup files available")]
    Empty,
}

/// Chooses the files that restore `target` from everything a replica holds.
///
/// # Errors
///
/// [`PlanError`] if the files do not reach the target without a gap.
pub fn plan(_files: &[ReplicaFile], _target: Target) -> Result<Plan, PlanError> {
    todo!()
}
