//! Whether a store does what a replica needs, tried out with objects that are gone afterwards.

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{Expected, Store, Times, body_from_bytes};
use crate::{Error, ErrorKind, Result, clock};

/// What is written: more than nothing, and different from place to place.
const CONTENT: &[u8] = b"lockkeeper tries out this store";
/// Where a range begins that is read.
const OFFSET: usize = 11;
/// The time that goes with it: one that no store would come to by itself.
const SEALED_MS: i64 = 1_000_000_000_123;
/// From this difference between two clocks on, stores refuse signatures.
const OFFSET_MAX_MS: i64 = 15 * 60 * 1000;
/// Up to this difference, times of files mean what they say.
const OFFSET_FINE_MS: i64 = 5000;

/// One thing that was tried.
#[derive(Debug)]
#[non_exhaustive]
pub struct Check {
    /// What it was.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a [`Check`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The store does it.
    Passed,
    /// It does, or does without, and there is something to know about it.
    Noted(String),
    /// The store does not do it, and no replica can do without. The error names what to change.
    Failed(Error),
    /// It was not tried, because of what failed before.
    Skipped,
}

/// Tries out everything that a replica needs of its store, below the root of the replica: listing,
/// writing, reading from any place, conditions, times, deleting. No object is left behind.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::store::{FileStore, Verdict, examine};
///
/// let store = FileStore::open(folder.path())?;
/// for check in examine(&store).await {
///     assert!(!matches!(check.verdict, Verdict::Failed(_)), "{check:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub async fn examine(store: &dyn Store) -> Vec<Check> {
    let mut checks = Examination {
        store,
        key: format!("lockkeeper-doctor/{:016x}", rand::random::<u64>()),
        checks: Vec::new(),
        is_broken: false,
    };
    checks.list().await;
    checks.write().await;
    checks.read().await;
    checks.times().await;
    checks.conditions().await;
    checks.delete().await;
    checks.checks
}

struct Examination<'a> {
    store: &'a dyn Store,
    key: String,
    checks: Vec<Check>,
    /// Whether what the rest builds on has failed.
    is_broken: bool,
}

impl Examination<'_> {
    async fn list(&mut self) {
        let listed = self.store.folders("").await;
        self.note("list", listed.map(|_| None));
    }

    async fn write(&mut self) {
        if self.skips("put") {
            return;
        }
        let body = body_from_bytes(CONTENT);
        let written = self.store.put(&self.key, SEALED_MS, body).await;
        self.is_broken = written.is_err();
        self.note("put", written.map(|_| None));
    }

    async fn read(&mut self) {
        for (name, offset) in [("get", 0), ("range", OFFSET)] {
            if self.skips(name) {
                continue;
            }
            let read = read(self.store, &self.key, offset).await;
            let wanted = CONTENT.get(offset..).unwrap_or_default();
            let read = read.and_then(|bytes| match bytes {
                Some(bytes) if bytes == wanted => Ok(None),
                Some(_) => Err(Error::corrupt("other bytes come back than were written")),
                None => Err(Error::unavailable("what was written is not there")),
            });
            self.note(name, read);
        }
    }

    /// The times that are kept, and that of the store's clock.
    async fn times(&mut self) {
        if self.skips("time") {
            self.skips("clock");
            return;
        }
        let kept = self.time(Times::Sealed).await.map(|time| {
            (time != SEALED_MS).then(|| {
                "the store keeps no metadata: points in time are those of its own clock".to_owned()
            })
        });
        self.note("time", kept);
        let now = clock::now_ms();
        let offset = self.time(Times::Listed).await.and_then(|time| {
            // A file keeps its own time, so there is no other clock.
            let offset = if time == SEALED_MS { 0 } else { time - now };
            let text = format!("the clocks are {} s apart", offset.abs() / 1000);
            if offset.abs() > OFFSET_MAX_MS {
                return Err(Error::invalid(format!("{text}: set that of this machine")));
            }
            Ok((offset.abs() > OFFSET_FINE_MS).then_some(text))
        });
        self.note("clock", offset);
    }

    async fn time(&self, times: Times) -> Result<i64> {
        let (folder, _) = self.key.split_once('/').unwrap_or_default();
        let listed = self.store.list(folder, times).await?;
        let found = listed.iter().find(|object| object.key == self.key);
        let found = found.ok_or_else(|| Error::unavailable("what was written is not listed"));
        Ok(found?.created_ms())
    }

    async fn conditions(&mut self) {
        if self.skips("conditional put") {
            return;
        }
        let other = Bytes::from_static(b"another writer");
        let put = self.store.put_if(&self.key, other, Expected::Absent).await;
        let found = match put {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Ok((!self.store.excludes_races(1)).then(|| {
                    "the store has no conditions on writes: writers that meet are told apart a \
                     little later"
                        .to_owned()
                }))
            }
            Err(error) => Err(error),
            Ok(_) => Err(Error::conflict(
                "the store overwrites what it was told to keep: two writers would destroy each \
                 other's files",
            )),
        };
        self.note("conditional put", found);
    }

    async fn delete(&mut self) {
        if self.skips("delete") {
            return;
        }
        let deleted = match self.store.delete(&self.key).await {
            Ok(()) => match self.store.get(&self.key, 0).await {
                Ok(None) => Ok(None),
                Ok(Some(_)) => Err(Error::conflict("what was deleted is still there")),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        self.note("delete", deleted);
    }

    /// Whether `name` cannot be tried, which is then noted.
    fn skips(&mut self, name: &'static str) -> bool {
        if self.is_broken {
            self.checks.push(Check {
                name,
                verdict: Verdict::Skipped,
            });
        }
        self.is_broken
    }

    fn note(&mut self, name: &'static str, found: Result<Option<String>>) {
        let verdict = match found {
            Ok(None) => Verdict::Passed,
            Ok(Some(text)) => Verdict::Noted(text),
            Err(error) => Verdict::Failed(error),
        };
        self.checks.push(Check { name, verdict });
    }
}

async fn read(store: &dyn Store, key: &str, offset: usize) -> Result<Option<Vec<u8>>> {
    let Some(body) = store.get(key, offset as u64).await? else {
        return Ok(None);
    };
    let pieces: Vec<Bytes> = body.try_collect().await.map_err(|error| {
        Error::unavailable("what was written cannot be read").with_source(error)
    })?;
    Ok(Some(pieces.concat()))
}
