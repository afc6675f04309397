//! Makes a database from a replica.
//!
//! The files of a [`Plan`] are read one after the other, oldest first, and each page goes to its
//! place in a temporary file beside the output; memory does not grow with the database. Only a
//! complete and verified file gets the name of the output.

mod image;
mod integrity;
mod output;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use lockkeeper_core::inventory::ReplicaFile;
pub use lockkeeper_core::restore::{Plan, PlanError, Target};
use lockkeeper_ltx::Txid;
use tokio::sync::mpsc;

use crate::store::Replica;
use crate::{Error, ErrorKind, Result};
use image::Image;
pub use integrity::IntegrityCheck;
use output::Output;

/// Pieces that may wait for the decoder before the network is held back.
const PIECES_MAX: usize = 4;

/// What to restore, and where to.
#[derive(Clone)]
pub struct RestoreOptions {
    /// The database file to make. It and its `-wal`, `-shm` and `-journal` must not exist.
    pub output: PathBuf,
    /// The point to restore to.
    pub target: Target,
    /// Moves what is in the way aside, to `<output>.before-restore-<time>`, instead of refusing.
    pub force: bool,
    /// What SQLite checks before the database gets its name.
    pub integrity_check: IntegrityCheck,
    /// Called after each piece that was read.
    pub progress: Option<ProgressFn>,
}

/// Takes reports of progress. It runs between reads, so it should return at once.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a restore has come.
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
            .field("integrity_check", &self.integrity_check)
            .finish_non_exhaustive()
    }
}

/// What a restore made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Restored {
    /// The last transaction in the database, as the header of the last file says.
    pub txid: Txid,
    /// Size of the database in bytes.
    pub size: u64,
    /// How many files were read.
    pub files: usize,
    /// Where a file starts that belongs to the target and that no chain of files reaches; see
    /// [`Plan::unreachable`].
    pub unreachable: Option<Txid>,
    /// Where the files went that were in the way.
    pub moved_aside: Vec<PathBuf>,
}

/// The files that a restore of `target` would read.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if the replica cannot be listed, [`ErrorKind::Corrupt`] if files are
/// missing in it, [`ErrorKind::Invalid`] if it has nothing for the target.
pub async fn plan_only(replica: &Replica, target: Target) -> Result<Plan> {
    let files = replica.list_all().await?;
    lockkeeper_core::restore::plan(&files, target).map_err(|e| {
        let kind = match e {
            PlanError::Gap { .. } | PlanError::NoSnapshot { .. } | PlanError::TooSmall { .. } => {
                ErrorKind::Corrupt
            }
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, format!("cannot restore from {replica}")).with_source(e)
    })
}

/// Refuses a time outside of what a replica covers, from its oldest file to its newest, both
/// included.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if the time is outside, or there is no file.
pub fn check_timestamp_bounds(files: &[ReplicaFile], time_ms: i64) -> Result<()> {
    let oldest = files.iter().map(|file| file.created_ms).min();
    let newest = files.iter().map(|file| file.created_ms).max();
    if oldest.is_some_and(|oldest| oldest <= time_ms) && newest >= Some(time_ms) {
        return Ok(());
    }
    Err(Error::invalid("timestamp does not exist"))
}

/// Makes a database from a replica. On an error nothing is left behind and nothing was moved.
///
/// # Errors
///
/// As [`plan_only`]; [`ErrorKind::Invalid`] if something is in the way of the output,
/// [`ErrorKind::Corrupt`] if a file is damaged, [`ErrorKind::Unavailable`] if the replica or the
/// disk fails.
///
/// # Cancel safety
///
/// A dropped future leaves no output; the temporary file goes when its thread sees the end.
pub async fn restore(replica: &Replica, options: RestoreOptions) -> Result<Restored> {
    let plan = plan_only(replica, options.target).await?;
    let unreachable = plan.unreachable();
    let files = plan.files().len();
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let RestoreOptions {
        output,
        force,
        integrity_check,
        progress,
        ..
    } = options;
    let builder = tokio::task::spawn_blocking(move || {
        build(
            &Output::prepare(&output, force)?,
            files,
            integrity_check,
            receiver,
        )
    });
    let fed = feed(replica, &plan, progress.as_ref(), &sender).await;
    // Without the last message the builder gives up when the channel closes.
    drop(sender);
    let built = builder
        .await
        .map_err(|e| Error::internal("the restore stopped").with_source(e))?;
    fed?;
    Ok(Restored {
        unreachable,
        ..built?
    })
}

/// What the building thread gets. Without `Done` the restore was given up.
enum Feed {
    File(ReplicaFile),
    Bytes(Bytes),
    EndOfFile,
    Done,
}

/// Sends every file of the plan. A closed channel is no error here: the builder says why.
async fn feed(
    replica: &Replica,
    plan: &Plan,
    progress: Option<&ProgressFn>,
    sender: &mpsc::Sender<Feed>,
) -> Result<()> {
    let mut at = Progress {
        bytes_total: plan.size(),
        files_total: plan.files().len(),
        ..Progress::default()
    };
    for file in plan.files() {
        let what = format!("level {} {} of {replica}", file.level, file.name);
        let Some(mut body) = replica.get(file.level, file.name).await? else {
            return Err(Error::unavailable(format!(
                "{what} was deleted during the restore"
            )));
        };
        if sender.send(Feed::File(*file)).await.is_err() {
            return Ok(());
        }
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| {
                Error::unavailable(format!("cannot read {what}")).with_source(source)
            })?;
            at.bytes += piece.len() as u64;
            if sender.send(Feed::Bytes(piece)).await.is_err() {
                return Ok(());
            }
            progress.inspect(|report| report(at));
        }
        if sender.send(Feed::EndOfFile).await.is_err() {
            return Ok(());
        }
        at.files += 1;
        progress.inspect(|report| report(at));
    }
    // As above.
    let _ = sender.send(Feed::Done).await;
    Ok(())
}

fn build(
    output: &Output,
    files: usize,
    check: IntegrityCheck,
    mut feed: mpsc::Receiver<Feed>,
) -> Result<Restored> {
    let tmp = output.create_tmp()?;
    let mut image = Image::new(tmp.file());
    let mut files_left = files;
    loop {
        match feed.blocking_recv() {
            Some(Feed::File(file)) => {
                files_left = files_left.saturating_sub(1);
                image.begin(file, files_left == 0);
            }
            Some(Feed::Bytes(bytes)) => image.bytes(&bytes)?,
            Some(Feed::EndOfFile) => image.end_of_file()?,
            Some(Feed::Done) => break,
            None => return Err(Error::unavailable("the restore was given up")),
        }
    }
    let (txid, size) = image.finish()?;
    integrity::check(&tmp.path(), check)?;
    let moved_aside = tmp.keep()?;
    Ok(Restored {
        txid,
        size,
        files,
        unreachable: None,
        moved_aside,
    })
}
