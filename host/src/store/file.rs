use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _, PermissionsExt as _};
use futures::StreamExt as _;
use rustix::fs::{Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::condition::{check_small, too_large};
use super::key::{self, Key};
use super::replica::{PIECE_LEN, read_piece};
use super::swap::{self, Swapped};
use super::{Body, Expected, ObjectInfo, SMALL_LEN_MAX, Store, Times, Version};
use super::{body_from_bytes, body_from_file};
use crate::{Error, Result};

/// Mode of every file: a replica holds what the database holds.
pub(super) const FILE_MODE: u32 = 0o600;
/// Mode of every folder made here.
const FOLDER_MODE: u32 = 0o700;
/// Ends the name of a file that is not complete. Litestream skips such names as well.
const TMP_SUFFIX: &str = ".tmp";
/// How often, and how soon, a small object is written again that another process is writing. It
/// takes that process two syncs of the disk.
const SWAP_TRIES: u32 = 100;
const SWAP_PAUSE: Duration = Duration::from_millis(50);

/// Objects as files below one folder.
///
/// Nothing outside the folder is reached, not even through symbolic links in it. Files get mode
/// 0600 and folders 0700, whatever the umask says. A file's modification time is its creation
/// time, as Litestream has it.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// A store below `path`, which is made by the first [`Store::put`] if it does not exist.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if `path` is something other than a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(path.as_ref()).map_err(|source| {
            Error::invalid(format!("{} is no path", path.as_ref().display())).with_source(source)
        })?;
        match fs::metadata(&root) {
            Ok(meta) if !meta.is_dir() => Err(Error::invalid(format!(
                "{} is not a folder",
                root.display()
            ))),
            _ => Ok(Self { root }),
        }
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        let place = self.root.display().to_string();
        join(tokio::task::spawn_blocking(move || work(&root)))
            .await?
            .map_err(|source| {
                Error::unavailable(format!("cannot {what} in {place}")).with_source(source)
            })
    }
}

#[async_trait]
impl Store for FileStore {
    // Each step is a piece of blocking work of its own: a thread that waited for the rest of a body
    // would be missing where the body is read. Dropped in between, the temporary file goes.
    async fn put(&self, key: &str, created_ms: i64, mut body: Body) -> Result<u64> {
        let key = Key::parse(key)?;
        let what = format!("write {key}");
        let begun = key.clone();
        let mut object = self
            .blocking(what.clone(), move |root| NewObject::create(root, &begun))
            .await?;
        while let Some(piece) = body.next().await {
            object = self
                .blocking(what.clone(), move |_| object.write(&piece?))
                .await?;
        }
        let taken = key.clone();
        self.blocking(what, move |_| {
            object.keep(key.name(), created_ms, Publish::Creating)
        })
        .await?
        .ok_or_else(|| exists(&taken, self))
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        let key = Key::parse(key)?;
        check_small(&key, bytes.len())?;
        for _ in 0..SWAP_TRIES {
            let (place, bytes) = (key.clone(), bytes.clone());
            let wanted = match expected {
                Expected::Absent => None,
                Expected::Version(version) => Some(version.clone()),
            };
            let swapped = self.blocking(format!("write {key}"), move |root| {
                let expected = wanted.as_ref().map_or(Expected::Absent, Expected::Version);
                swap::swap(some_folder(root, &place)?, place.name(), &bytes, expected)
            });
            match swapped.await? {
                Swapped::Done(version) => return Ok(version),
                Swapped::Conflict => return Err(exists(&key, self)),
                Swapped::Busy => tokio::time::sleep(SWAP_PAUSE).await,
            }
        }
        let text = format!(
            "another process has been writing {key} in {} for too long",
            self.root.display()
        );
        Err(Error::unavailable(text))
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        let key = Key::parse(key)?;
        let place = key.clone();
        let read = self.blocking(format!("read {key}"), move |root| {
            match open_folder(root, place.folder())? {
                Some(folder) => swap::read(&folder, place.name()),
                None => Ok(None),
            }
        });
        let Some(bytes) = read.await? else {
            return Ok(None);
        };
        if bytes.len() > SMALL_LEN_MAX {
            return Err(too_large(&key));
        }
        let version = swap::version(&bytes);
        Ok(Some((bytes, version)))
    }

    fn excludes_races(&self, _size: u64) -> bool {
        true
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        let key = Key::parse(key)?;
        let what = format!("read {key}");
        let opened = self.blocking(what, move |root| {
            let Some(mut file) = open_object(root, &key, offset)? else {
                return Ok(None);
            };
            // Most files are small: with their first piece they are read in one go.
            let piece = read_piece(&mut file)?;
            Ok(Some((piece, file)))
        });
        Ok(opened.await?.map(|(piece, file)| {
            if piece.len() < PIECE_LEN {
                body_from_bytes(piece)
            } else {
                body_from_bytes(piece).chain(body_from_file(file)).boxed()
            }
        }))
    }

    async fn list(&self, prefix: &str, _times: Times) -> Result<Vec<ObjectInfo>> {
        let folder = key::parse_folder(prefix)?;
        let what = format!("list {prefix:?}");
        self.blocking(what, move |root| list_objects(root, &folder))
            .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let folder = key::parse_folder(prefix)?;
        let what = format!("list {prefix:?}");
        self.blocking(what, move |root| list_folders(root, &folder))
            .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let key = Key::parse(key)?;
        let what = format!("delete {key}");
        self.blocking(what, move |root| {
            let Some(folder) = open_folder(root, key.folder())? else {
                return Ok(());
            };
            match folder.remove_file(key.name()) {
                Ok(()) => sync_dir(&folder),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e),
            }
        })
        .await
    }

    fn describe(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

/// How a new file gets its final name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Publish {
    /// Unless there is a file of that name.
    Creating,
    /// In place of the file of that name.
    Replacing,
}

/// A new file that is removed when dropped.
pub(super) struct NewObject {
    folder: Dir,
    name: String,
    file: fs::File,
    size: u64,
}

impl NewObject {
    fn create(root: &Path, key: &Key) -> io::Result<Self> {
        Self::create_in(some_folder(root, key)?, key.name())
    }

    pub(super) fn create_in(folder: Dir, name: &str) -> io::Result<Self> {
        // The name is random so that nobody can prepare a link there, and two writers of one key
        // do not meet.
        let name = format!("{name}.{:016x}{TMP_SUFFIX}", rand::random::<u64>());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = folder.open_with(&name, &options)?.into_std();
        let object = Self {
            folder,
            name,
            file,
            size: 0,
        };
        rustix::fs::fchmod(&object.file, Mode::from_raw_mode(FILE_MODE))?;
        Ok(object)
    }

    pub(super) fn write(mut self, bytes: &[u8]) -> io::Result<Self> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(self)
    }

    /// Gives the file its final name, with everything safe on the disk. `None` if the name is
    /// taken.
    pub(super) fn keep(
        mut self,
        name: &str,
        created_ms: i64,
        publish: Publish,
    ) -> io::Result<Option<u64>> {
        self.file.set_modified(from_unix_ms(created_ms)?)?;
        self.file.sync_all()?;
        match publish {
            Publish::Replacing => self.folder.rename(&self.name, &self.folder, name)?,
            Publish::Creating if !rename_unless_taken(&self.folder, &self.name, name)? => {
                return Ok(None);
            }
            Publish::Creating => {}
        }
        self.name.clear();
        sync_dir(&self.folder)?;
        Ok(Some(self.size))
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // A leftover is skipped by every listing; there is nothing better to do about it.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

/// Renames a file; `false` if the new name is taken.
fn rename_unless_taken(folder: &Dir, from: &str, to: &str) -> io::Result<bool> {
    match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Network file systems know links, but not this.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_unless_taken(folder, from, to),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file by a second name for it; `false` if the new name is taken.
fn link_unless_taken(folder: &Dir, from: &str, to: &str) -> io::Result<bool> {
    match folder.hard_link(from, folder, to) {
        Ok(()) => folder.remove_file(from).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_object(root: &Path, key: &Key, offset: u64) -> io::Result<Option<fs::File>> {
    let Some(folder) = open_folder(root, key.folder())? else {
        return Ok(None);
    };
    let Some(mut file) = open_object_in(&folder, key.name())? else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(offset))?;
    Ok(Some(file))
}

pub(super) fn open_object_in(folder: &Dir, name: &str) -> io::Result<Option<fs::File>> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for a writer.
    options
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let file = match folder.open_with(name, &options) {
        Ok(file) => file.into_std(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Some(file))
}

fn list_objects(root: &Path, prefix: &[String]) -> io::Result<Vec<ObjectInfo>> {
    let Some(folder) = open_folder(root, prefix)? else {
        return Ok(Vec::new());
    };
    let mut objects = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        // No key has a name that is not text, so such a file is not ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.ends_with(TMP_SUFFIX) || !entry.file_type()?.is_file() {
            continue;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // Deleted since the folder was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let created = meta.modified()?.into_std();
        let created = jiff::Timestamp::try_from(created).map_err(io::Error::other)?;
        objects.push(ObjectInfo {
            key: key::join(prefix, &name),
            size: meta.len(),
            created,
        });
    }
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

fn list_folders(root: &Path, prefix: &[String]) -> io::Result<Vec<String>> {
    let Some(folder) = open_folder(root, prefix)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn open_root(root: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(root, ambient_authority())
}

/// `None` if the folder does not exist.
fn open_folder(root: &Path, parts: &[String]) -> io::Result<Option<Dir>> {
    let open = || {
        let root = open_root(root)?;
        if parts.is_empty() {
            Ok(root)
        } else {
            root.open_dir(parts.join("/"))
        }
    };
    match open() {
        Ok(folder) => Ok(Some(folder)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The folder of an object, which is made if it does not exist.
fn some_folder(root: &Path, key: &Key) -> io::Result<Dir> {
    match open_folder(root, key.folder())? {
        Some(folder) => Ok(folder),
        None => {
            make_root(root)?;
            make_folder(open_root(root)?, key.folder())
        }
    }
}

/// Makes the root and every folder above it that does not exist.
fn make_root(root: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = root
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
            continue;
        };
        make_subfolder(&open_root(parent)?, Path::new(name))?;
    }
    Ok(())
}

fn make_folder(root: Dir, parts: &[String]) -> io::Result<Dir> {
    let mut folder = root;
    for part in parts {
        make_subfolder(&folder, Path::new(part))?;
        folder = folder.open_dir(part)?;
    }
    Ok(folder)
}

fn make_subfolder(parent: &Dir, name: &Path) -> io::Result<()> {
    match parent.create_dir(name) {
        Ok(()) => {
            parent.set_permissions(name, cap_std::fs::Permissions::from_mode(FOLDER_MODE))?;
            sync_dir(parent)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Makes the names in a folder survive a power cut.
fn sync_dir(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}

fn from_unix_ms(ms: i64) -> io::Result<SystemTime> {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let time = if ms < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.ok_or_else(|| io::Error::other(format!("the time {ms} ms is out of range")))
}

fn exists(key: &Key, store: &FileStore) -> Error {
    let place = store.root.display();
    Error::conflict(format!("{key} in {place} is not what was expected there"))
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> Result<T> {
    task.await
        .map_err(|e| Error::internal("a file operation stopped").with_source(e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_renames_that_spare_files_is_served_by_links() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_root(dir.path()).unwrap();
        folder.write("new", "new").unwrap();
        assert!(link_unless_taken(&folder, "new", "name").unwrap());
        assert!(!folder.exists("new"));
        folder.write("newer", "newer").unwrap();
        assert!(!link_unless_taken(&folder, "newer", "name").unwrap());
        assert_eq!(folder.read_to_string("name").unwrap(), "new");
    }
}
