use std::slice;

use lockkeeper_core::generations::{self, GenerationPlan, GenerationPlanError};
use lockkeeper_core::restore::{Plan, PlanError, Target};

use super::head::expected_txid;
use super::v3;
use crate::store::{Contents, Replica, Times, Wanted};
use crate::{Error, ErrorKind, Result};

/// What a restore reads, in the format that holds the newer data.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RestorePlan {
    /// LTX files, as Litestream 0.5 and lockkeeper write them.
    Ltx(Plan),
    /// A snapshot and pieces of logs, as Litestream 0.3 wrote them.
    Generation(GenerationPlan),
}

impl RestorePlan {
    /// Bytes to read.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Ltx(plan) => plan.size(),
            Self::Generation(plan) => plan.size(),
        }
    }

    /// How many files to read.
    #[must_use]
    pub fn file_count(&self) -> usize {
        match self {
            Self::Ltx(plan) => plan.files().len(),
            Self::Generation(plan) => plan.segments().len() + 1,
        }
    }

    /// The files in the order in which the database is built: LTX files newest first.
    pub(super) fn wanted(&self, replica: &Replica) -> Vec<Wanted> {
        match self {
            Self::Ltx(plan) => {
                let files = plan.files().iter().rev();
                files.map(|file| Wanted::ltx(replica, file)).collect()
            }
            Self::Generation(plan) => {
                let wanted = |key: String, size| Wanted {
                    label: format!("{key} of {replica}"),
                    key,
                    size,
                };
                let snapshots = slice::from_ref(plan.snapshot()).iter();
                let snapshots = snapshots.map(|file| wanted(file.key(), file.size));
                let segments = plan.segments().iter();
                snapshots
                    .chain(segments.map(|file| wanted(file.key(), file.size)))
                    .collect()
            }
        }
    }
}

/// The files that a restore of `target` would read.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if the replica cannot be listed, [`ErrorKind::Corrupt`] if files are
/// missing in it, [`ErrorKind::Invalid`] if it has nothing for the target.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let builder = lockkeeper::Lockkeeper::builder()
/// #     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path());
/// # let keeper = builder.clone().start().await?;
/// # keeper.sync().await?;
/// # keeper.stop(std::time::Duration::from_secs(15)).await?;
/// use lockkeeper::restore::{Target, check_reaches, expected_txid, has_backup};
/// use lockkeeper::restore::{plan_only, plan_restore};
/// use lockkeeper::store::Replica;
///
/// let replica = Replica::file(folder.path().join("backup"))?;
/// assert!(has_backup(&replica).await?);
/// let expected = expected_txid(&replica, Target::Latest).await?; // ask before the listing
/// let plan = plan_restore(&replica, Target::Latest).await?;
/// check_reaches(&replica, &plan, expected)?; // nothing is missing at the end
/// println!("{} bytes in {} files", plan.size(), plan.file_count());
/// assert_eq!(Some(plan_only(&replica, Target::Latest).await?.txid()), expected);
/// # Ok(())
/// # }
/// ```
pub async fn plan_restore(replica: &Replica, target: Target) -> Result<RestorePlan> {
    let Contents {
        files,
        has_generations,
    } = replica.look(times(target)).await?;
    // Only LTX files know transactions, so a look at anything else would be for nothing.
    if has_generations && !matches!(target, Target::Txid(_)) {
        let found = v3::list(replica.store().as_ref()).await?;
        if generations::is_preferred(&found, &files, target) {
            let plan = generations::plan(&found, target).map_err(|e| {
                let kind = match e {
                    GenerationPlanError::NoSnapshot | GenerationPlanError::NoTxids => {
                        ErrorKind::Invalid
                    }
                    _ => ErrorKind::Corrupt,
                };
                Error::new(kind, format!("cannot restore from {replica}")).with_source(e)
            })?;
            return Ok(RestorePlan::Generation(plan));
        }
    }
    let plan = lockkeeper_core::restore::plan(&files, target);
    let newest = || lockkeeper_core::restore::plan(&files, Target::Latest);
    // A replica that has lost everything must not be taken for one that never had anything. One
    // that does not reach back as far as the target has lost nothing.
    if matches!(plan, Err(PlanError::Empty))
        && matches!(newest(), Err(PlanError::Empty))
        && let Some(expected) = expected_txid(replica, Target::Latest).await?
    {
        return Err(Error::corrupt(format!(
            "{replica} holds no file that could start a database any more, but {expected} was \
             durable: its files were deleted"
        )));
    }
    plan.map(RestorePlan::Ltx).map_err(|e| refused(replica, e))
}

/// Whether a replica holds anything at all, of whatever format.
///
/// # Errors
///
/// [`crate::ErrorKind::Unavailable`] if the replica cannot be listed.
pub async fn has_backup(replica: &Replica) -> Result<bool> {
    let contents = replica.look(Times::Listed).await?;
    if contents.has_generations || !contents.files.is_empty() {
        return Ok(true);
    }
    // It had one: that it is lost is for a restore to say.
    Ok(expected_txid(replica, Target::Latest).await?.is_some())
}

/// The LTX files that a restore of `target` would read if the replica holds nothing else; see
/// [`plan_restore`].
///
/// # Errors
///
/// As [`plan_restore`].
pub async fn plan_only(replica: &Replica, target: Target) -> Result<Plan> {
    let files = replica.look(times(target)).await?.files;
    lockkeeper_core::restore::plan(&files, target).map_err(|e| refused(replica, e))
}

/// Exact times may cost a request for each file, so only who asks for a time has them.
fn times(target: Target) -> Times {
    match target {
        Target::Before(_) => Times::Sealed,
        _ => Times::Listed,
    }
}

fn refused(replica: &Replica, error: PlanError) -> Error {
    let kind = match error {
        PlanError::Gap { .. } | PlanError::NoSnapshot { .. } | PlanError::TooSmall { .. } => {
            ErrorKind::Corrupt
        }
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, format!("cannot restore from {replica}")).with_source(error)
}
