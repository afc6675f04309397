use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use lockkeeper_core::generations;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level};

use super::{Body, FileStore, ObjectInfo, RequestCounts, Store, Times};
use crate::Result;

/// Bytes per read of a file: a few calls per megabyte, and little memory per open body.
pub(super) const PIECE_LEN: usize = 256 * 1024;

/// How the keys of a replica are made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Layout {
    /// `ltx/<level>/<name>`: every backend of Litestream but S3 and OSS.
    #[default]
    Standard,
    /// `<level in four hexadecimal digits>/<name>`: S3 and OSS.
    S3,
}

impl Layout {
    fn folder(self, level: Level) -> String {
        match self {
            Self::Standard => format!("ltx/{level}"),
            Self::S3 => format!("{:04x}", level.get()),
        }
    }

    /// The file under a key; `None` if it is that of something else.
    fn parse(self, key: &str) -> Option<(Level, FileName)> {
        let (folder, name) = key.rsplit_once('/')?;
        let level = Level::all().find(|level| self.folder(*level) == folder)?;
        Some((level, name.parse().ok()?))
    }

    fn key(self, level: Level, name: FileName) -> String {
        format!("{}/{name}", self.folder(level))
    }
}

/// What lies in a replica.
pub(crate) struct Contents {
    /// The files of all levels, from level 0 on.
    pub(crate) files: Vec<ReplicaFile>,
    /// Whether Litestream 0.3 wrote there.
    pub(crate) has_generations: bool,
}

/// The LTX files of one database in a store.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use futures::TryStreamExt as _;
/// use lockkeeper::store::{FileName, Level, Replica, body_from_bytes, body_from_file};
///
/// let replica = Replica::file(folder.path())?;
/// let name: FileName = "0000000000000001-0000000000000001.ltx".parse()?;
/// let sealed_ms = 1_795_449_658_764; // since the Unix epoch
/// let size = replica.put(Level::L0, name, sealed_ms, body_from_bytes("content")).await?;
///
/// let files = replica.list(Level::L0).await?;
/// assert_eq!((files[0].name, files[0].size, files[0].created_ms), (name, size, sealed_ms));
/// assert_eq!(replica.list_all().await?, replica.list_sealed().await?);
/// let rest = replica.get_from(Level::L0, name, 3).await?.expect("it is there");
/// assert_eq!(rest.try_collect::<Vec<_>>().await?.concat(), b"tent");
///
/// let copy = std::fs::File::open(folder.path().join("ltx/0").join(name.to_string()))?;
/// replica.put(Level::SNAPSHOT, name, sealed_ms, body_from_file(copy)).await?;
/// replica.delete(Level::L0, name).await?;
/// replica.delete_all(&replica.list_all().await?).await?;
/// assert!(replica.get(Level::SNAPSHOT, name).await?.is_none());
/// assert_eq!(replica.requests().total(), 0); // a folder is asked for nothing
/// println!("{replica}: {:?}", replica.store());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Replica {
    store: Arc<dyn Store>,
    layout: Layout,
}

/// Tests compare settings, which hold what they prepared.
#[cfg(test)]
impl PartialEq for Replica {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }
}

#[cfg(test)]
impl Eq for Replica {}

impl Replica {
    /// A replica at the root of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// A replica in a folder, as `litestream replicate` with a `file://` URL writes it.
    ///
    /// # Errors
    ///
    /// As [`FileStore::open`].
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(
            Arc::new(FileStore::open(path)?),
            Layout::Standard,
        ))
    }

    /// The store it lies in.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The key of a file below the root of the store.
    pub(crate) fn key(&self, level: Level, name: FileName) -> String {
        self.layout.key(level, name)
    }

    /// Writes a file; it is confirmed by the store when this returns. Returns its size.
    ///
    /// # Errors
    ///
    /// As [`Store::put`].
    pub async fn put(
        &self,
        level: Level,
        name: FileName,
        created_ms: i64,
        body: Body,
    ) -> Result<u64> {
        self.store
            .put(&self.layout.key(level, name), created_ms, body)
            .await
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub async fn get(&self, level: Level, name: FileName) -> Result<Option<Body>> {
        self.get_from(level, name, 0).await
    }

    /// Reads a file from `offset` to its end; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::get`].
    pub async fn get_from(
        &self,
        level: Level,
        name: FileName,
        offset: u64,
    ) -> Result<Option<Body>> {
        self.store.get(&self.layout.key(level, name), offset).await
    }

    /// The files of one level, by ascending name, with [`Times::Listed`]. Objects with other names
    /// are skipped.
    ///
    /// # Errors
    ///
    /// As [`Store::list`].
    pub async fn list(&self, level: Level) -> Result<Vec<ReplicaFile>> {
        self.list_level(level, Times::Listed).await
    }

    /// The files of all levels, from level 0 on, with [`Times::Listed`].
    ///
    /// # Errors
    ///
    /// As [`Store::list`].
    pub async fn list_all(&self) -> Result<Vec<ReplicaFile>> {
        Ok(self.look(Times::Listed).await?.files)
    }

    /// The files of all levels, from level 0 on, with [`Times::Sealed`].
    ///
    /// # Errors
    ///
    /// As [`Store::list`].
    pub async fn list_sealed(&self) -> Result<Vec<ReplicaFile>> {
        Ok(self.look(Times::Sealed).await?.files)
    }

    /// What lies in the replica, in one listing request if it is little.
    pub(crate) async fn look(&self, times: Times) -> Result<Contents> {
        if let Some(objects) = self.store.list_tree(times).await? {
            let generations = format!("{}/", generations::FOLDER);
            return Ok(Contents {
                has_generations: objects.iter().any(|it| it.key.starts_with(&generations)),
                files: self.files(&objects),
            });
        }
        Ok(Contents {
            files: self.list_levels(times).await?,
            has_generations: !self.store.folders(generations::FOLDER).await?.is_empty(),
        })
    }

    async fn list_levels(&self, times: Times) -> Result<Vec<ReplicaFile>> {
        let mut files = Vec::new();
        for level in Level::all() {
            files.append(&mut self.list_level(level, times).await?);
        }
        Ok(files)
    }

    async fn list_level(&self, level: Level, times: Times) -> Result<Vec<ReplicaFile>> {
        let objects = self.store.list(&self.layout.folder(level), times).await?;
        Ok(self.files(&objects))
    }

    fn files(&self, objects: &[ObjectInfo]) -> Vec<ReplicaFile> {
        let file = |object: &ObjectInfo| {
            let (level, name) = self.layout.parse(&object.key)?;
            Some(ReplicaFile {
                level,
                name,
                size: object.size,
                created_ms: object.created_ms(),
            })
        };
        let mut files: Vec<ReplicaFile> = objects.iter().filter_map(file).collect();
        files.sort_by_key(|file| (file.level, file.name));
        files
    }

    /// Deletes a file; one that does not exist is no error.
    ///
    /// # Errors
    ///
    /// As [`Store::delete`].
    pub async fn delete(&self, level: Level, name: FileName) -> Result<()> {
        self.store.delete(&self.layout.key(level, name)).await
    }

    /// Deletes files in as few requests as the store allows.
    ///
    /// # Errors
    ///
    /// As [`Store::delete_many`].
    pub async fn delete_all(&self, files: &[ReplicaFile]) -> Result<()> {
        let keys: Vec<String> = files
            .iter()
            .map(|file| self.layout.key(file.level, file.name))
            .collect();
        self.store.delete_many(&keys).await
    }

    /// How many requests were sent to the store.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        self.store.requests()
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.store.describe())
    }
}

/// A body of bytes in memory.
#[must_use]
pub fn body_from_bytes(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

/// Reads up to [`PIECE_LEN`] bytes; fewer only at the end of the file.
pub(super) fn read_piece(file: &mut File) -> io::Result<Bytes> {
    // What is left bounds the memory, so that small files cost little.
    let (len, at) = (file.metadata()?.len(), file.stream_position()?);
    let left = usize::try_from(len.saturating_sub(at)).unwrap_or(PIECE_LEN);
    let mut piece = Vec::with_capacity(PIECE_LEN.min(left.saturating_add(1)));
    file.take(PIECE_LEN as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

/// A body that is read from where `file` stands to its end.
#[must_use]
pub fn body_from_file(file: std::fs::File) -> Body {
    stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            // Many small files may be open at a time, so a piece is not larger than what is left.
            let left = file
                .metadata()?
                .len()
                .saturating_sub(file.stream_position()?);
            let len = usize::try_from(left).map_or(PIECE_LEN, |left| left.min(PIECE_LEN));
            let mut piece = vec![0; len];
            let len = file.read(&mut piece)?;
            piece.truncate(len);
            Ok::<_, std::io::Error>((Bytes::from(piece), file))
        });
        match read.await.map_err(std::io::Error::other).flatten() {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, file)) => Some((Ok(piece), Some(file))),
            Err(e) => Some((Err(e), None)),
        }
    })
    .boxed()
}
