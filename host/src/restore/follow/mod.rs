//! A copy of a database that is kept up to date.

mod apply;
mod header;
mod journal;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, slice};

use lockkeeper_core::follow::{Next, next};
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{Level, Txid};
use tokio::task::JoinHandle;

use super::fetch;
use super::output::Output;
use super::{Purpose, RestoreOptions, feed, restore_for};
use crate::store::Replica;
use crate::store::Wanted;
use crate::{Error, ErrorKind, Result};
use apply::Applier;
pub(super) use header::prepare;

/// Ends the name of the file beside the output that says which transaction it holds.
const TXID_SUFFIX: &str = "-txid";
/// With more level-0 files than this to apply, larger files are looked for: each file costs a few
/// syncs, however small.
const SMALL_FILES_MAX: usize = 32;

/// What to keep up to date, and how.
#[derive(Clone)]
pub struct FollowOptions {
    /// The database file. It is restored if it does not exist.
    pub output: PathBuf,
    /// How long to wait after a look at the replica before the next one.
    pub interval: Duration,
    /// How long to wait for readers of the output to end, before it is tried again after the
    /// interval. New readers wait as long.
    pub lock_wait: Duration,
    /// Called with the transaction that the output holds, at the start and whenever it changes. It
    /// should return at once.
    pub applied: Option<AppliedFn>,
}

/// Takes the transaction that a database holds.
pub type AppliedFn = Arc<dyn Fn(Txid) + Send + Sync>;

impl FollowOptions {
    /// Keeps `output` up to date, with a look at the replica every second.
    #[must_use]
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            output: output.into(),
            interval: Duration::from_secs(1),
            lock_wait: Duration::from_secs(1),
            applied: None,
        }
    }
}

impl fmt::Debug for FollowOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowOptions")
            .field("output", &self.output)
            .field("interval", &self.interval)
            .field("lock_wait", &self.lock_wait)
            .finish_non_exhaustive()
    }
}

/// Restores a replica if the output does not exist, and then applies what the replica gets, until
/// `stop` is ready. Returns the last transaction in the output; to be stopped is an error only
/// while there is none yet.
///
/// Where it stands is kept in `<output>-txid`, so that a later call goes on from there, whatever
/// the replica has become meanwhile. Each file is verified before a page is written, and applied as
/// one transaction: other processes may read the output through SQLite all the time, and a crash
/// leaves what SQLite rolls back. They must not write to it. It is in rollback-journal mode and so
/// differs from the replicated database in the fields of its header that say so.
///
/// Nothing else in this process may open the output while this runs, and it should not be opened
/// here afterwards by anything that was open before: closing a file drops every lock that the
/// process holds on it (POSIX `fcntl`). Follow in a process of its own.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if the output is not one that was followed before, or was written to;
/// [`ErrorKind::Corrupt`] if a file of the replica is damaged, or the replica ends before the
/// output does. A replica or an output that is [`ErrorKind::Unavailable`] after the start is
/// logged, and tried again after the interval.
///
/// # Cancel safety
///
/// A dropped future leaves a valid output, but a file that is being applied may still be applied
/// to its end. With `stop`, it is awaited.
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
/// use std::time::Duration;
///
/// use lockkeeper::restore::{FollowOptions, follow};
/// use lockkeeper::store::Replica;
///
/// let replica = Replica::file(folder.path().join("backup"))?;
/// let (reached, told) = tokio::sync::oneshot::channel();
/// let reached = std::sync::Mutex::new(Some(reached));
/// let options = FollowOptions {
///     interval: Duration::from_millis(100),
///     applied: Some(Arc::new(move |txid| {
///         let first = reached.lock().unwrap().take();
///         first.map(|reached| reached.send(txid));
///     })),
///     ..FollowOptions::new(folder.path().join("copy.db"))
/// };
/// let stop = async { drop(told.await) }; // here at once; else when a signal comes
/// let txid = follow(&replica, options, stop).await?;
/// println!("the copy is at {txid}");
/// # Ok(())
/// # }
/// ```
pub async fn follow(
    replica: &Replica,
    options: FollowOptions,
    stop: impl Future<Output = ()>,
) -> Result<Txid> {
    let mut stop = std::pin::pin!(stop);
    let opened = tokio::select! {
        () = &mut stop => return held(options.output).await,
        opened = open(replica, &options) => opened?,
    };
    let (applier, txid) = opened;
    let mut follower = Follower {
        replica,
        applier: Arc::new(Mutex::new(applier)),
        applying: None,
        txid,
        applied: options.applied,
    };
    follower.report(txid);
    loop {
        let round = tokio::select! {
            () = &mut stop => break,
            round = follower.round() => round,
        };
        match round {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "following goes on later");
            }
            round => round?,
        }
        tokio::select! {
            () = &mut stop => break,
            () = tokio::time::sleep(options.interval) => {}
        }
    }
    follower.end().await
}

/// Says beside the output which transaction it holds.
pub(super) fn write_txid(output: &Output, txid: Txid) -> Result<()> {
    output.write_beside(TXID_SUFFIX, format!("{txid}\n").as_bytes())
}

/// Reads what [`write_txid`] has written.
fn read_txid(output: &Output) -> Result<Txid> {
    let unknown = || {
        let path = output.path();
        let path = path.display();
        Error::invalid(format!(
            "{path} already exists, and no {path}{TXID_SUFFIX} says which transaction it holds"
        ))
    };
    let text = output.read_beside(TXID_SUFFIX)?.ok_or_else(unknown)?;
    let txid = text.trim_end().parse();
    txid.map_err(|e| unknown().with_source(e))
}

/// Opens the output, or makes it.
async fn open(replica: &Replica, options: &FollowOptions) -> Result<(Applier, Txid)> {
    let path = options.output.clone();
    if !blocking(move || Output::locate(&path)?.has_database()).await? {
        let restore = RestoreOptions::new(&options.output);
        restore_for(replica, restore, Purpose::Follow).await?;
    }
    let (path, lock_wait) = (options.output.clone(), options.lock_wait);
    blocking(move || {
        let applier = Applier::open(&path, lock_wait)?;
        let txid = applier.txid();
        Ok((applier, txid))
    })
    .await
}

/// The last transaction in an output that was not opened yet.
async fn held(path: PathBuf) -> Result<Txid> {
    blocking(move || {
        let output = Output::locate(&path)?;
        if output.has_database()? {
            read_txid(&output)
        } else {
            Err(Error::unavailable(
                "stopped before the database was restored",
            ))
        }
    })
    .await
}

struct Follower<'a> {
    replica: &'a Replica,
    applier: Arc<Mutex<Applier>>,
    /// What a dropped round has left.
    applying: Option<JoinHandle<Result<Txid>>>,
    txid: Txid,
    applied: Option<AppliedFn>,
}

impl Follower<'_> {
    /// Applies everything that the replica has by now.
    async fn round(&mut self) -> Result<()> {
        loop {
            let small = self.replica.list(Level::L0).await?;
            let more = small
                .iter()
                .filter(|file| file.name.range().max() > self.txid);
            if more.count() <= SMALL_FILES_MAX {
                while let Next::File(file) = next(&small, self.txid) {
                    self.apply(file).await?;
                }
                if next(&small, self.txid) == Next::UpToDate {
                    return Ok(());
                }
            }
            let all = self.replica.list_all().await?;
            match next(&all, self.txid) {
                Next::File(file) => self.apply(file).await?,
                Next::UpToDate => return Ok(()),
                Next::Gap { next } => {
                    let text = format!("nothing leads from {} to {next}", self.txid);
                    return Err(Error::unavailable(format!("{}: {text}", self.replica)));
                }
                Next::Behind { newest } => {
                    let newest =
                        newest.map_or_else(|| "nothing".to_owned(), |txid| txid.to_string());
                    let text = format!("it holds {newest}, and the output {}", self.txid);
                    return Err(Error::corrupt(format!("{}: {text}", self.replica)));
                }
            }
        }
    }

    async fn apply(&mut self, file: ReplicaFile) -> Result<()> {
        let wanted = Wanted::ltx(self.replica, &file);
        let (sender, feed) = feed::channel();
        let applier = Arc::clone(&self.applier);
        let apply = move || lock(&applier).apply(&file, feed);
        let applying = self.applying.insert(tokio::task::spawn_blocking(apply));
        let store = self.replica.store().as_ref();
        let fetched = fetch::fetch(store, slice::from_ref(&wanted), None, sender).await;
        let applied = applying.await;
        self.applying = None;
        fetched?;
        self.txid = applied.map_err(stopped)??;
        self.report(self.txid);
        Ok(())
    }

    /// Waits until nothing is being applied.
    async fn end(self) -> Result<Txid> {
        if let Some(applying) = self.applying {
            // Where it stands is asked below.
            let _ = applying.await;
        }
        let applier = self.applier;
        blocking(move || Ok(lock(&applier).txid())).await
    }

    fn report(&self, txid: Txid) {
        if let Some(applied) = &self.applied {
            applied(txid);
        }
    }
}

/// A thread that panicked has said so, and left what the next one rolls back.
fn lock(applier: &Mutex<Applier>) -> std::sync::MutexGuard<'_, Applier> {
    applier.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

fn stopped(source: tokio::task::JoinError) -> Error {
    Error::internal("following stopped").with_source(source)
}
