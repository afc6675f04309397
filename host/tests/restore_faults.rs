//! Restores from replicas that change, or whose reads break off, while they are read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lockkeeper::restore::{RestoreOptions, Restored, Target, restore};
use lockkeeper::store::{
    Body, Expected, FileStore, Layout, ObjectInfo, Replica, Store, Times, Version,
};
use lockkeeper::{ErrorKind, Result};
use lockkeeper_ltx::Level;
use support::{database, ltx, name, put, txid};

/// What happens when an object is read for the n-th time, from 0.
type Hook = Box<dyn Fn(&FileStore, &str, usize) -> Action + Send + Sync>;

enum Action {
    Read,
    /// Nothing is there.
    Vanish,
    /// So many more bytes, and then an error or an early end.
    Break {
        after: usize,
        error: bool,
    },
}

/// Remembers every read, and lets a hook decide about it.
struct Hooked {
    store: FileStore,
    hook: Hook,
    reads: Mutex<Vec<(String, u64)>>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait::async_trait]
impl Store for Hooked {
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64> {
        self.store.put(key, created_ms, body).await
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        self.store.put_if(key, bytes, expected).await
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.store.get_small(key).await
    }

    fn excludes_races(&self, size: u64) -> bool {
        self.store.excludes_races(size)
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        let reads = {
            let mut reads = self.reads.lock().unwrap();
            let before = reads.iter().filter(|(read, _)| read == key).count();
            reads.push((key.to_owned(), offset));
            before
        };
        let (after, error) = match (self.hook)(&self.store, key, reads) {
            Action::Read => return self.store.get(key, offset).await,
            Action::Vanish => return Ok(None),
            Action::Break { after, error } => (after, error),
        };
        let body = self.store.get(key, offset).await?.unwrap();
        let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
        let bytes = Bytes::from(pieces.concat());
        let mut pieces = vec![Ok(bytes.slice(..after.min(bytes.len())))];
        if error {
            pieces.push(Err(io::Error::other("connection reset")));
        }
        Ok(Some(stream::iter(pieces).boxed()))
    }

    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        self.store.list(prefix, times).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.store.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.store.delete(key).await
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

/// A snapshot of two pages, and three transactions that change the second.
async fn made(dir: &Path) -> FileStore {
    let replica = Replica::file(dir).unwrap();
    put(
        &replica,
        9,
        name(1, 1),
        ltx(name(1, 1), 2, &[(1, 1), (2, 1)]),
    )
    .await;
    for n in 2..=4 {
        let bytes = ltx(name(n, n), 2, &[(2, n as u8)]);
        put(&replica, 0, name(n, n), bytes).await;
    }
    FileStore::open(dir).unwrap()
}

fn hooked(
    store: FileStore,
    hook: impl Fn(&FileStore, &str, usize) -> Action + Send + Sync + 'static,
) -> (Arc<Hooked>, Replica) {
    let store = Arc::new(Hooked {
        store,
        hook: Box::new(hook),
        reads: Mutex::default(),
    });
    let replica = Replica::new(store.clone(), Layout::Standard);
    (store, replica)
}

/// Restores while time flies: the thread that builds is waiting all the time, so that paused time
/// does not go on by itself.
async fn run(replica: &Replica, options: RestoreOptions) -> Result<Restored> {
    let time = async {
        loop {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = restore(replica, options) => done,
        () = time => unreachable!(),
    }
}

async fn restored(dir: &Path, replica: &Replica, target: Target) -> Result<Vec<u8>> {
    let out = dir.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let options = RestoreOptions {
        target,
        ..RestoreOptions::new(out.join("a.db"))
    };
    let done = run(replica, options).await;
    let names = std::fs::read_dir(&out).unwrap().count();
    assert_eq!(names, usize::from(done.is_ok()), "something was left");
    done.map(|_| std::fs::read(out.join("a.db")).unwrap())
}

fn l0(n: u64) -> String {
    format!("ltx/0/{}", name(n, n))
}

#[tokio::test(start_paused = true)]
async fn files_that_were_merged_meanwhile_are_read_where_they_went() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(&dir.path().join("replica")).await;
    let folder = dir.path().join("replica/ltx");
    let (hooked, replica) = hooked(store, move |_, key, _| {
        // The newest is read first; the one before it goes while that happens.
        if key == l0(4) && !folder.join("1").exists() {
            std::fs::create_dir(folder.join("1")).unwrap();
            let merged = name(2, 5);
            let bytes = ltx(merged, 2, &[(1, 5), (2, 5)]);
            std::fs::write(folder.join("1").join(merged.to_string()), bytes).unwrap();
            for n in 2..=4 {
                std::fs::remove_file(folder.join("0").join(name(n, n).to_string())).unwrap();
            }
        }
        Action::Read
    });
    let found = restored(dir.path(), &replica, Target::Latest)
        .await
        .unwrap();
    // Also what was added by then.
    assert!(found == database(&[5, 5]));
    let reads = hooked.reads.lock().unwrap();
    assert!(
        reads.iter().any(|(key, _)| key.contains("/1/")),
        "{reads:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_for_good_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(&dir.path().join("replica")).await;
    let folder = dir.path().join("replica/ltx/0");
    let (_, replica) = hooked(store, move |_, key, _| {
        if key == l0(3) {
            let _ = std::fs::remove_file(folder.join(name(3, 3).to_string()));
        }
        Action::Read
    });
    let target = Target::Txid(txid(3));
    let error = restored(dir.path(), &replica, target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("no file ends at"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn plans_are_made_a_bounded_number_of_times() {
    let dir = tempfile::tempdir().unwrap();
    let store = made(&dir.path().join("replica")).await;
    let (hooked, replica) = hooked(store, |_, key, _| {
        if key == l0(2) {
            Action::Vanish
        } else {
            Action::Read
        }
    });
    let found = restored(dir.path(), &replica, Target::Latest).await;
    let error = found.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("was deleted while it was read"),
        "{error}"
    );
    let reads = hooked.reads.lock().unwrap();
    assert_eq!(reads.iter().filter(|(key, _)| *key == l0(2)).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_where_it_broke_off() {
    for broken in [l0(4), l0(2), format!("ltx/9/{}", name(1, 1))] {
        for (after, error) in [(0, true), (1, true), (70, true), (0, false), (60, false)] {
            let dir = tempfile::tempdir().unwrap();
            let store = made(&dir.path().join("replica")).await;
            let key = broken.clone();
            let (hooked, replica) = hooked(store, move |_, read, reads| {
                if read == key && reads < 2 {
                    Action::Break { after, error }
                } else {
                    Action::Read
                }
            });
            let found = restored(dir.path(), &replica, Target::Latest).await;
            assert!(found.unwrap() == database(&[1, 4]), "{broken} {after}");
            let reads = hooked.reads.lock().unwrap();
            let offsets = reads.iter().filter(|(key, _)| *key == broken);
            let offsets: Vec<u64> = offsets.map(|(_, offset)| *offset).collect();
            let after = after as u64;
            assert_eq!(offsets, [0, after, 2 * after], "{broken} {after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_never_goes_on_is_given_up() {
    for error in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = made(&dir.path().join("replica")).await;
        let (hooked, replica) = hooked(store, move |_, key, _| {
            if key == l0(3) {
                Action::Break { after: 0, error }
            } else {
                Action::Read
            }
        });
        let found = restored(dir.path(), &replica, Target::Latest).await;
        let error = found.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let level = Level::L0;
        let text = format!("level {level} {}", name(3, 3));
        assert!(error.to_string().contains(&text), "{error}");
        let reads = hooked.reads.lock().unwrap();
        assert_eq!(reads.iter().filter(|(key, _)| *key == l0(3)).count(), 5);
    }
}
