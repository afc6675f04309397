//! Objects in anything that the `object_store` crate reaches.

mod failure;
mod listing;
mod upload;

use std::borrow::Cow;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use lockkeeper_core::s3::Conditions;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _,
};

use self::failure::{failed, is_bucket_missing};
use self::upload::Parts;
use super::cloud::{Counters, RequestCounts};
use super::condition::{check_small, too_large};
use super::key::{self, Key};
use super::{Body, Expected, ObjectInfo, SMALL_LEN_MAX, Store, Times, Version};
use crate::{Error, Result};

/// Name of the metadata that holds the creation time, as Litestream writes it.
const TIMESTAMP_KEY: &str = "litestream-timestamp";
/// Smaller objects are sent in one request; also the size of a part. S3 takes no smaller parts.
const PART_LEN: usize = 5 << 20;
/// Parts of one upload that are sent at a time.
const CONCURRENCY: usize = 5;
/// Deletions in one request, or at a time where a store has no such request.
const DELETES_MAX: usize = 1000;

/// Objects in anything that the `object_store` crate reaches.
///
/// The creation time is kept in the metadata `litestream-timestamp`. Listings do not carry
/// metadata, so that [`Times::Sealed`] costs a request for each object.
///
/// Conditions are left to the store. Where it has none, and for objects of several parts, on which
/// S3 takes none, the adapter looks before it writes.
pub struct ObjectStoreAdapter {
    bucket: Bucket,
    root: Path,
    conditions: AtomicU8,
}

/// A store, and how it wants to be used.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store, if it gives listings page by page.
    pub(super) pages: Option<Arc<dyn PaginatedListStore>>,
    /// Whether every key begins with a slash: one that is no part of a path here, and that `store`
    /// puts before each key by itself.
    pub(super) begins_with_slash: bool,
    pub(super) upload: UploadLimits,
    /// Name of the metadata that holds the creation time.
    pub(super) timestamp_key: &'static str,
    pub(super) storage_class: Option<String>,
    pub(super) conditions: Conditions,
    /// Where this is, for people.
    pub(super) place: String,
    pub(super) counters: Arc<Counters>,
}

/// What bounds the memory of one upload: parts of this size, so many at a time and one more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UploadLimits {
    /// Bytes of a part; smaller objects are sent in one request.
    pub(super) part_len: usize,
    pub(super) concurrency: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            part_len: PART_LEN,
            concurrency: CONCURRENCY,
        }
    }
}

impl Bucket {
    /// Anything that keeps to the conditions it takes.
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            place: store.to_string(),
            store,
            pages: None,
            begins_with_slash: false,
            upload: UploadLimits::default(),
            timestamp_key: TIMESTAMP_KEY,
            storage_class: None,
            conditions: Conditions::Kept,
            counters: Arc::default(),
        }
    }
}

impl ObjectStoreAdapter {
    /// A store below `root` in `store`; the empty `root` is the whole of it.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if `root` is no key.
    pub fn new(store: Arc<dyn ObjectStore>, root: &str) -> Result<Self> {
        let root = key::parse_folder(root)?.join("/");
        Ok(Self::below(Bucket::new(store), parse_path(&root)?))
    }

    /// A store below `root` in a bucket.
    pub(super) fn below(bucket: Bucket, root: Path) -> Self {
        Self {
            conditions: AtomicU8::new(bucket.conditions as u8),
            bucket,
            root,
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        self.bucket.store.as_ref()
    }

    fn path(&self, key: &str) -> Result<Path> {
        let parts = self.root.parts();
        Ok(parts.chain(parse_path(key)?.parts()).collect())
    }

    /// The key below the root.
    fn key(&self, path: &Path) -> Option<String> {
        let parts: Vec<_> = path
            .prefix_match(&self.root)?
            .map(|part| part.as_ref().to_owned())
            .collect();
        Some(parts.join("/"))
    }

    fn has_conditions(&self, is: Conditions) -> bool {
        self.conditions.load(Ordering::Relaxed) == is as u8
    }

    fn set_conditions(&self, are: Conditions) {
        self.conditions.store(are as u8, Ordering::Relaxed);
    }

    fn timestamp(&self) -> Attribute {
        Attribute::Metadata(Cow::Borrowed(self.bucket.timestamp_key))
    }

    /// The time is RFC 3339 in UTC, without zeros at the end of the fraction.
    fn attributes(&self, created_ms: i64) -> Result<Attributes> {
        let time = jiff::Timestamp::from_millisecond(created_ms).map_err(|e| {
            Error::invalid(format!("the time {created_ms} ms is out of range")).with_source(e)
        })?;
        let mut attributes = self.class_of_storage();
        attributes.insert(self.timestamp(), time.to_string().into());
        Ok(attributes)
    }

    fn class_of_storage(&self) -> Attributes {
        let class = self.bucket.storage_class.clone();
        class
            .map(|class| (Attribute::StorageClass, class))
            .into_iter()
            .collect()
    }

    async fn find(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.store().head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("look for", path, e)),
        }
    }

    /// Deletes what is there of `batch`. The first error is reported, after the rest was tried.
    async fn delete_batch(&self, batch: &[Path]) -> Result<()> {
        let batch: Vec<_> = batch.iter().cloned().map(Ok).collect();
        let deleted = self.store().delete_stream(stream::iter(batch).boxed());
        let errors = deleted.filter_map(async |deleted| match deleted {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => Some(error),
        });
        // The client panics at an answer about a key that nobody asked about.
        let errors = AssertUnwindSafe(errors.collect::<Vec<_>>()).catch_unwind();
        let errors = errors.await.map_err(|_| {
            Error::unavailable(format!("{} answers what was not asked", self.describe()))
        })?;
        match errors.into_iter().next() {
            Some(error) => Err(failed("delete below", &self.root, error)),
            None => Ok(()),
        }
    }

    /// Whether an object ends at `offset` or before, so that nothing can be read from there.
    async fn ends_before(&self, path: &Path, offset: u64) -> Result<bool> {
        let found = self.find(path).await?;
        Ok(found.is_some_and(|meta| meta.size <= offset))
    }
}

#[async_trait]
impl Store for ObjectStoreAdapter {
    // Cancel safety: a store shows no object before the last request; parts of an upload that was
    // dropped stay with the store until its lifecycle rules remove them.
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64> {
        let path = self.path(&Key::parse(key)?.to_string())?;
        let attributes = self.attributes(created_ms)?;
        let part_len = self.bucket.upload.part_len;
        let mut parts = Parts::new(body, part_len);
        let first = parts.next(&path).await?;
        if first.len() >= part_len {
            return self.put_large(&path, attributes, first, parts).await;
        }
        let size = first.len() as u64;
        self.put_expecting(&path, first, attributes, Expected::Absent)
            .await?;
        Ok(size)
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        let key = Key::parse(key)?;
        check_small(&key, bytes.len())?;
        let path = self.path(&key.to_string())?;
        let put = self.put_expecting(&path, bytes, Attributes::default(), expected);
        let put = put.await?;
        Ok(version(put.e_tag, put.version))
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let key = Key::parse(key)?;
        let path = self.path(&key.to_string())?;
        let found = match self.store().get(&path).await {
            Ok(found) => found,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        if found.meta.size > SMALL_LEN_MAX as u64 {
            return Err(too_large(&key));
        }
        let version = version(found.meta.e_tag.clone(), found.meta.version.clone());
        let bytes = super::collect_up_to(body(found), SMALL_LEN_MAX).await?;
        let bytes = bytes.ok_or_else(|| too_large(&key))?;
        Ok(Some((bytes.into(), version)))
    }

    fn excludes_races(&self, size: u64) -> bool {
        size < self.bucket.upload.part_len as u64 && self.has_conditions(Conditions::Kept)
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        let path = self.path(&Key::parse(key)?.to_string())?;
        let options = GetOptions {
            range: (offset > 0).then_some(GetRange::Offset(offset)),
            ..GetOptions::default()
        };
        match self.store().get_opts(&path, options).await {
            Ok(found) => Ok(Some(body(found))),
            Err(e) if is_absent(&e) => Ok(None),
            // A range that starts at the end is an error for most stores, and empty for us.
            Err(_) if offset > 0 && self.ends_before(&path, offset).await? => {
                Ok(Some(super::body_from_bytes(Bytes::new())))
            }
            Err(e) => Err(failed("read", &path, e)),
        }
    }

    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        self.list_folder(prefix, times).await
    }

    async fn list_tree(&self, times: Times) -> Result<Option<Vec<ObjectInfo>>> {
        self.list_small_tree(times).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.list_folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.delete_many(&[key.to_owned()]).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<()> {
        let paths = keys
            .iter()
            .map(|key| self.path(&Key::parse(key)?.to_string()))
            .collect::<Result<Vec<_>>>()?;
        for batch in paths.chunks(DELETES_MAX) {
            self.delete_batch(batch).await?;
        }
        Ok(())
    }

    fn requests(&self) -> RequestCounts {
        self.bucket.counters.counts()
    }

    fn describe(&self) -> String {
        let slash = if self.bucket.begins_with_slash {
            "/"
        } else {
            ""
        };
        match self.root.as_ref() {
            "" => format!("{}{slash}", self.bucket.place),
            root => format!("{}/{slash}{root}", self.bucket.place),
        }
    }
}

impl fmt::Debug for ObjectStoreAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clients hold credentials, so theirs is not printed.
        f.debug_struct("ObjectStoreAdapter")
            .field("place", &self.bucket.place)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Whether there is no such object, in a bucket that is there.
fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !is_bucket_missing(error)
}

fn body(found: object_store::GetResult) -> Body {
    found.into_stream().map_err(std::io::Error::other).boxed()
}

fn version(tag: Option<String>, number: Option<String>) -> Version {
    Version { tag, number }
}

fn parse_path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| Error::invalid(format!("not a key: {key:?}")).with_source(e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
