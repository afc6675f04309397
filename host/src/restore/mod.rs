//! Makes a database from a replica.
//!
//! The files of a [`RestorePlan`] are read ahead, and taken one after the other by a thread that
//! puts the database together in a temporary file beside the output; memory does not grow with the
//! database. Only a complete and verified file gets the name of the output.

mod beside;
mod bounds;
mod feed;
mod fetch;
mod follow;
mod head;
mod image;
mod integrity;
mod output;
mod pages;
mod plan;
mod v3;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

pub use lockkeeper_core::generations::{GenerationId, GenerationPlan, SegmentFile, SnapshotFile};
pub use lockkeeper_core::restore::{Plan, PlanError, Target};
use lockkeeper_ltx::Txid;

use crate::store::FetchError;
use crate::store::Replica;
use crate::{Error, Result};
pub use bounds::{check_timestamp, check_timestamp_bounds};
use feed::Feed;
pub use follow::{AppliedFn, FollowOptions, follow};
pub use head::{check_reaches, expected_txid};
use image::Image;
pub use integrity::IntegrityCheck;
use output::Output;
pub use plan::{RestorePlan, has_backup, plan_only, plan_restore};
use writer::PageWriter;

/// Bytes that a restore holds at most, however large the database and however many files there
/// are; one bit per page comes to it.
const MEMORY_MAX: usize = 64 << 20;
const _: () = assert!(fetch::BYTES_MAX + writer::BYTES_MAX <= MEMORY_MAX);

/// How often a restore is planned again because a file of the plan was deleted: compaction and
/// retention delete in bursts, minutes apart.
const REPLANS_MAX: u32 = 4;

/// What to restore, and where to.
#[derive(Clone)]
pub struct RestoreOptions {
    /// The database file to make. It and its `-wal`, `-shm` and `-journal` must not exist.
    pub output: PathBuf,
    /// The point to restore to.
    pub target: Target,
    /// Moves what is in the way aside, to `<output>.before-restore-<time>`, instead of refusing.
    pub force: bool,
    /// Restores what there is if the newest files of the replica are missing, instead of refusing.
    pub allow_missing_tail: bool,
    /// What SQLite checks before the database gets its name.
    pub integrity_check: IntegrityCheck,
    /// Called after each piece that was read.
    pub progress: Option<ProgressFn>,
}

/// Takes reports of progress. It runs between reads, so it should return at once.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a restore has come. It starts again from zero if files of the replica are deleted
/// meanwhile, so that others have to be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Bytes read from the replica.
    pub bytes: u64,
    /// Bytes to read, as the listing said.
    pub bytes_total: u64,
    /// Files read to their end.
    pub files: usize,
    /// Files to read.
    pub files_total: usize,
}

impl RestoreOptions {
    /// Restores the newest state to `output`, which must not exist.
    #[must_use]
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            output: output.into(),
            target: Target::Latest,
            force: false,
            allow_missing_tail: false,
            integrity_check: IntegrityCheck::None,
            progress: None,
        }
    }
}

impl fmt::Debug for RestoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreOptions")
            .field("output", &self.output)
            .field("target", &self.target)
            .field("force", &self.force)
            .field("allow_missing_tail", &self.allow_missing_tail)
            .field("integrity_check", &self.integrity_check)
            .finish_non_exhaustive()
    }
}

/// What a restore made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Restored {
    /// The last transaction in the database, as the header of the last file says. Generations do
    /// not count transactions: then it is the first, with which replication of the database begins.
    pub txid: Txid,
    /// The generation it came from, if Litestream 0.3 wrote it.
    pub generation: Option<GenerationId>,
    /// Size of the database in bytes.
    pub size: u64,
    /// How many files were read.
    pub files: usize,
    /// Where a file starts that belongs to the target and that no chain of files reaches; see
    /// [`Plan::unreachable`].
    pub unreachable: Option<Txid>,
    /// The last transaction that the writer of the replica knew to be durable, if the newest state
    /// was asked for. The database ends before it only if a missing tail was allowed.
    pub expected_txid: Option<Txid>,
    /// Where the files went that were in the way.
    pub moved_aside: Vec<PathBuf>,
}

/// Makes a database from a replica. On an error nothing is left behind and nothing was moved.
///
/// # Errors
///
/// As [`plan_restore`]; [`crate::ErrorKind::Invalid`] if something is in the way of the output,
/// [`crate::ErrorKind::Corrupt`] if a file is damaged, [`crate::ErrorKind::Unavailable`] if the
/// replica or the disk fails.
///
/// # Cancel safety
///
/// A dropped future leaves no output; the temporary file goes when its thread sees the end.
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
/// use std::sync::Arc;
///
/// use lockkeeper::restore::{IntegrityCheck, Progress, RestoreOptions, Target, restore};
/// use lockkeeper::store::Replica;
///
/// let replica = Replica::file(folder.path().join("backup"))?;
/// let options = RestoreOptions {
///     target: Target::Latest,
///     integrity_check: IntegrityCheck::Quick,
///     progress: Some(Arc::new(|at: Progress| println!("{} of {}", at.bytes, at.bytes_total))),
///     ..RestoreOptions::new(folder.path().join("restored.db"))
/// };
/// let restored = restore(&replica, options).await?;
/// println!("{} bytes, up to {}", restored.size, restored.txid);
/// # Ok(())
/// # }
/// ```
pub async fn restore(replica: &Replica, options: RestoreOptions) -> Result<Restored> {
    restore_for(replica, options, Purpose::Use).await
}

/// What a restored database is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Use,
    /// To apply more files to it, which is possible with LTX files only.
    Follow,
}

async fn restore_for(
    replica: &Replica,
    options: RestoreOptions,
    purpose: Purpose,
) -> Result<Restored> {
    let options = Arc::new(options);
    let mut replans_left = REPLANS_MAX;
    loop {
        let expected = expected_txid(replica, options.target).await?;
        let plan = match purpose {
            Purpose::Use => plan_restore(replica, options.target).await?,
            Purpose::Follow => RestorePlan::Ltx(plan_only(replica, options.target).await?),
        };
        if !options.allow_missing_tail {
            check_reaches(replica, &plan, expected)?;
        }
        match restore_plan(replica, &options, plan, purpose).await {
            Err(FetchError::Gone(error)) if replans_left > 0 => {
                tracing::warn!(%error, "planning the restore again");
                replans_left -= 1;
            }
            done => {
                return Ok(Restored {
                    expected_txid: expected,
                    ..done?
                });
            }
        }
    }
}

/// Restores a plan into a new temporary file: what was read for another plan may not belong to it.
async fn restore_plan(
    replica: &Replica,
    options: &Arc<RestoreOptions>,
    plan: RestorePlan,
    purpose: Purpose,
) -> std::result::Result<Restored, FetchError> {
    let wanted = plan.wanted(replica);
    let (sender, feed) = feed::channel();
    let builder = tokio::task::spawn_blocking({
        let options = Arc::clone(options);
        move || build(&options, &plan, purpose, feed)
    });
    let store = replica.store().as_ref();
    // Without its last message the builder gives up when the channel closes.
    let fetched = fetch::fetch(store, &wanted, options.progress.as_ref(), sender).await;
    let built = builder
        .await
        .map_err(|e| FetchError::Failed(Error::internal("the restore stopped").with_source(e)))?;
    fetched?;
    built.map_err(FetchError::Failed)
}

fn build(
    options: &RestoreOptions,
    plan: &RestorePlan,
    purpose: Purpose,
    mut feed: Feed,
) -> Result<Restored> {
    let output = Output::prepare(&options.output, options.force)?;
    let tmp = output.create_tmp()?;
    let mut restored = Restored {
        txid: Txid::FIRST,
        generation: None,
        size: 0,
        files: plan.file_count(),
        unreachable: None,
        expected_txid: None,
        moved_aside: Vec::new(),
    };
    match plan {
        RestorePlan::Ltx(plan) => {
            (restored.txid, restored.size) = build_ltx(plan, &mut feed, tmp.file())?;
            restored.unreachable = plan.unreachable();
        }
        RestorePlan::Generation(plan) => {
            let spool = output.create_tmp()?;
            restored.size = v3::build(plan, &mut feed, tmp.file(), spool.file())?;
            restored.generation = Some(plan.snapshot().generation);
        }
    }
    integrity::check(&tmp.path(), options.integrity_check)?;
    if purpose == Purpose::Follow {
        follow::prepare(tmp.file())?;
        // Before the database has its name: beside none, it means nothing.
        follow::write_txid(&output, restored.txid)?;
    }
    restored.moved_aside = tmp.keep()?;
    Ok(restored)
}

/// Writes the database of a plan to the empty `file` and makes it safe. Returns its last
/// transaction and its size in bytes.
fn build_ltx(plan: &Plan, feed: &mut Feed, file: &File) -> Result<(Txid, u64)> {
    let (txid, size) = PageWriter::with(file, |writer| {
        let mut image = Image::new(writer);
        for file in plan.files().iter().rev() {
            image.add(file, &mut *feed)?;
            feed.next_file()
                .map_err(|e| Error::unavailable("cannot read the replica").with_source(e))?;
        }
        image.finish()
    })?;
    let sized = file.set_len(size).and_then(|()| file.sync_all());
    sized.map_err(|e| Error::unavailable("cannot write the restored database").with_source(e))?;
    Ok((txid, size))
}
