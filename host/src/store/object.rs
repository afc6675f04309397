use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, UpdateVersion,
};

use super::condition::{check_small, too_large};
use super::key::{self, Key};
use super::{Body, Expected, ObjectInfo, SMALL_LEN_MAX, Store, Version};
use crate::{Error, Result};

/// Name of the metadata that holds the creation time, as Litestream writes it.
const TIMESTAMP_KEY: &str = "litestream-timestamp";
/// Smaller objects are sent in one request; also the size of a part. S3 takes no smaller parts.
const PART_LEN: usize = 5 * 1024 * 1024;
/// Requests for metadata at a time while listing.
const HEADS_MAX: usize = 16;

/// Objects in anything that the `object_store` crate reaches.
///
/// The creation time is kept in the metadata `litestream-timestamp`. Listings do not carry
/// metadata, so [`Store::list`] asks for that of each object.
///
/// Conditions are left to the store. Where it has none, and for objects of several parts, on which
/// S3 takes none, the adapter looks before it writes.
pub struct ObjectStoreAdapter {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Turns true when the store says that it has no conditions.
    is_unconditional: AtomicBool,
}

impl ObjectStoreAdapter {
    /// A store below `root` in `store`; the empty `root` is the whole of it.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if `root` is no key.
    pub fn new(store: Arc<dyn ObjectStore>, root: &str) -> Result<Self> {
        let root = key::parse_folder(root)?.join("/");
        Ok(Self {
            store,
            root: parse_path(&root)?,
            is_unconditional: AtomicBool::new(false),
        })
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

    async fn info(&self, meta: ObjectMeta) -> Result<Option<ObjectInfo>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = match self.store.get_opts(&meta.location, options).await {
            Ok(found) => found,
            // Deleted since it was listed.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed("read the metadata of", &meta.location, e)),
        };
        let stored = found.attributes.get(&timestamp_attribute());
        let created_ms = stored
            .and_then(|value| value.as_ref().parse::<jiff::Timestamp>().ok())
            .map_or_else(
                || meta.last_modified.timestamp_millis(),
                |time| time.as_millisecond(),
            );
        let key = self.key(&meta.location);
        Ok(key.map(|key| ObjectInfo {
            key,
            size: found.meta.size,
            created_ms,
        }))
    }

    async fn put_large(
        &self,
        path: &Path,
        attributes: Attributes,
        first: Bytes,
        body: Body,
    ) -> Result<u64> {
        if self.find(path).await?.is_some() {
            return Err(exists(path));
        }
        let options = PutMultipartOptions {
            attributes,
            ..PutMultipartOptions::default()
        };
        let upload = self.store.put_multipart_opts(path, options).await;
        let mut upload = upload.map_err(|e| failed("write", path, e))?;
        let sent = async {
            let size = send_parts(upload.as_mut(), path, first, body).await?;
            if self.find(path).await?.is_some() {
                return Err(exists(path));
            }
            let completed = upload.complete().await;
            completed.map_err(|e| failed("write", path, e))?;
            Ok(size)
        };
        let sent = sent.await;
        if sent.is_err() {
            // The first failure is the one to report; the store forgets parts by its own rules.
            let _ = upload.abort().await;
        }
        sent
    }

    async fn find(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.store.head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("look for", path, e)),
        }
    }

    /// Writes in one request, if what is there is as expected.
    async fn put_expecting(
        &self,
        path: &Path,
        bytes: Bytes,
        attributes: Attributes,
        expected: Expected<'_>,
    ) -> Result<PutResult> {
        let put = |mode, attributes| {
            let options = PutOptions {
                mode,
                attributes,
                ..PutOptions::default()
            };
            self.store
                .put_opts(path, PutPayload::from(bytes.clone()), options)
        };
        let mode = match expected {
            Expected::Absent => PutMode::Create,
            Expected::Version(version) => PutMode::Update(UpdateVersion {
                e_tag: version.tag.clone(),
                version: version.number.clone(),
            }),
        };
        match put(mode, attributes.clone()).await {
            Err(
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. },
            ) => {}
            put => return put.map_err(|e| failed("write", path, e)),
        }
        self.is_unconditional.store(true, Ordering::Relaxed);
        let found = self.find(path).await?;
        let found = found.map(|meta| version(meta.e_tag, meta.version));
        if !expected.is_met(found.as_ref()) {
            return Err(exists(path));
        }
        let put = put(PutMode::Overwrite, attributes).await;
        put.map_err(|e| failed("write", path, e))
    }
}

fn version(tag: Option<String>, number: Option<String>) -> Version {
    Version { tag, number }
}

async fn send_parts(
    upload: &mut dyn object_store::MultipartUpload,
    path: &Path,
    first: Bytes,
    mut body: Body,
) -> Result<u64> {
    let mut size = 0;
    let mut part = first;
    while !part.is_empty() {
        size += part.len() as u64;
        let sent = upload.put_part(PutPayload::from(part)).await;
        sent.map_err(|e| failed("write", path, e))?;
        part = read_part(&mut body, path).await?;
    }
    Ok(size)
}

/// The next part of a body; shorter than [`PART_LEN`] only at the end.
async fn read_part(body: &mut Body, path: &Path) -> Result<Bytes> {
    let mut part = BytesMut::new();
    while part.len() < PART_LEN {
        let Some(piece) = body.next().await else {
            break;
        };
        let piece = piece.map_err(|e| {
            Error::unavailable(format!("cannot read what to write as {path}")).with_source(e)
        })?;
        part.extend_from_slice(&piece);
    }
    Ok(part.freeze())
}

#[async_trait]
impl Store for ObjectStoreAdapter {
    // Cancel safety: a store shows no object before the last request; parts of an upload that was
    // dropped stay with the store until its lifecycle rules remove them.
    async fn put(&self, key: &str, created_ms: i64, mut body: Body) -> Result<u64> {
        let path = self.path(&Key::parse(key)?.to_string())?;
        let attributes = attributes(created_ms)?;
        let first = read_part(&mut body, &path).await?;
        if first.len() >= PART_LEN {
            return self.put_large(&path, attributes, first, body).await;
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
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        if found.meta.size > SMALL_LEN_MAX as u64 {
            return Err(too_large(&key));
        }
        let version = version(found.meta.e_tag.clone(), found.meta.version.clone());
        let bytes = found.bytes().await;
        Ok(Some((
            bytes.map_err(|e| failed("read", &path, e))?,
            version,
        )))
    }

    fn excludes_races(&self, size: u64) -> bool {
        size < PART_LEN as u64 && !self.is_unconditional.load(Ordering::Relaxed)
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        let path = self.path(&Key::parse(key)?.to_string())?;
        let head = match self.store.head(&path).await {
            Ok(head) => head,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        // A range that starts at the end is an error for most stores, and empty for us.
        if offset >= head.size {
            return Ok(Some(super::body_from_bytes(Bytes::new())));
        }
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        match self.store.get_opts(&path, options).await {
            Ok(found) => Ok(Some(
                found.into_stream().map_err(std::io::Error::other).boxed(),
            )),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("read", &path, e)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        key::parse_folder(prefix)?;
        let path = self.path(prefix)?;
        let listing = self.store.list_with_delimiter(Some(&path)).await;
        let listing = listing.map_err(|e| failed("list", &path, e))?;
        let infos = futures::stream::iter(listing.objects).map(|meta| self.info(meta));
        let infos: Vec<_> = infos.buffered(HEADS_MAX).try_collect().await?;
        let mut infos: Vec<ObjectInfo> = infos.into_iter().flatten().collect();
        infos.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(infos)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        key::parse_folder(prefix)?;
        let path = self.path(prefix)?;
        let listing = self.store.list_with_delimiter(Some(&path)).await;
        let listing = listing.map_err(|e| failed("list", &path, e))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = listing.common_prefixes.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(&Key::parse(key)?.to_string())?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed("delete", &path, e)),
        }
    }

    fn describe(&self) -> String {
        format!("{}/{}", self.store, self.root)
    }
}

impl fmt::Debug for ObjectStoreAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clients hold credentials, so theirs is not printed.
        f.debug_struct("ObjectStoreAdapter")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

fn parse_path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| Error::invalid(format!("not a key: {key:?}")).with_source(e))
}

fn timestamp_attribute() -> Attribute {
    Attribute::Metadata(Cow::Borrowed(TIMESTAMP_KEY))
}

/// The time is RFC 3339 in UTC, without zeros at the end of the fraction.
fn attributes(created_ms: i64) -> Result<Attributes> {
    let time = jiff::Timestamp::from_millisecond(created_ms).map_err(|e| {
        Error::invalid(format!("the time {created_ms} ms is out of range")).with_source(e)
    })?;
    Ok([(timestamp_attribute(), time.to_string())]
        .into_iter()
        .collect())
}

fn exists(path: &Path) -> Error {
    Error::conflict(format!("{path} is not what was expected there"))
}

fn failed(what: &str, path: &Path, source: object_store::Error) -> Error {
    use object_store::Error::{AlreadyExists, Precondition};
    if matches!(source, AlreadyExists { .. } | Precondition { .. }) {
        return exists(path).with_source(source);
    }
    Error::unavailable(format!("cannot {what} {path}")).with_source(source)
}
