//! A store that notes what is asked of it, and does what a test wants before it writes.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::store::{Body, Expected, Layout, ObjectInfo, Replica, Store, Times, Version};
use crate::{Error, Result};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Done,
    /// It is done, but the writer is told that it failed.
    Unanswered,
}

type Hook = Box<dyn Fn(String) -> BoxFuture<'static, Fate> + Send + Sync>;

pub(crate) struct Hooked {
    inner: Arc<dyn Store>,
    before_put: Hook,
    excludes_races: bool,
    calls: Mutex<Vec<String>>,
}

impl Hooked {
    /// Does nothing but to note.
    pub(crate) fn noting(replica: &Replica) -> Arc<Self> {
        Self::new(replica, true, |_| Box::pin(async { Fate::Done }))
    }

    /// Asks `before_put` with the key of each file that is to be written.
    pub(crate) fn new(
        replica: &Replica,
        excludes_races: bool,
        before_put: impl Fn(String) -> BoxFuture<'static, Fate> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(replica.store()),
            before_put: Box::new(before_put),
            excludes_races,
            calls: Mutex::default(),
        })
    }

    pub(crate) fn replica(self: &Arc<Self>) -> Replica {
        let store: Arc<dyn Store> = self.clone();
        Replica::new(store, Layout::Standard)
    }

    /// How often something that begins like this was asked.
    pub(crate) fn count(&self, begin: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.starts_with(begin)).count()
    }

    fn note(&self, what: &str, key: &str) {
        self.calls.lock().unwrap().push(format!("{what} {key}"));
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Store for Hooked {
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64> {
        let fate = (self.before_put)(key.to_owned()).await;
        self.note("put", key);
        let put = self.inner.put(key, created_ms, body).await;
        match fate {
            Fate::Unanswered if put.is_ok() => Err(Error::unavailable("the answer was lost")),
            _ => put,
        }
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        self.note("put_if", key);
        self.inner.put_if(key, bytes, expected).await
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.note("get_small", key);
        self.inner.get_small(key).await
    }

    fn excludes_races(&self, size: u64) -> bool {
        self.excludes_races && self.inner.excludes_races(size)
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        self.note("get", key);
        self.inner.get(key, offset).await
    }

    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        self.note("list", prefix);
        self.inner.list(prefix, times).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.note("folders", prefix);
        self.inner.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.note("delete", key);
        self.inner.delete(key).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
