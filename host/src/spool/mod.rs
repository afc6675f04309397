//! Sealed L0 files on the local disk: `.<database>-litestream/ltx/0/`, as Litestream keeps them, so
//! that either program can take over from the other.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt, File, MetadataExt as _, OpenOptions, OpenOptionsExt,
};
use lockkeeper_ltx::{FileName, Header, Pgno, ReadError, Reader, Txid, TxidRange};
use rustix::fs::{Mode, fchmod};

use crate::lock::StateLock;
use crate::{Error, ErrorKind, Result};

const FOLDER: &str = "ltx/0";

/// The local files of one database.
#[derive(Debug)]
pub(crate) struct Spool {
    meta: PathBuf,
    path: PathBuf,
    dir: Dir,
    /// Nobody else may use the directory before the last user of this is gone.
    lock: Option<Arc<StateLock>>,
}

/// A sealed file.
#[derive(Debug)]
pub(crate) struct SealedFile {
    pub(crate) name: FileName,
    pub(crate) header: Header,
}

/// Where Litestream keeps the state of a database, unless it is configured otherwise.
pub(crate) fn default_meta_path(database: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(database.file_name().unwrap_or_default());
    name.push("-litestream");
    database.with_file_name(name)
}

/// Where in a state directory the local files are.
pub(crate) fn local_files(meta: &Path) -> PathBuf {
    meta.join(FOLDER)
}

impl Spool {
    /// Opens the state directory, makes it if needed, and removes what a crash left half-written.
    pub(crate) fn open(meta: &Path) -> Result<Self> {
        let path = local_files(meta);
        let open = || -> io::Result<Dir> {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            Dir::create_ambient_dir_all(
                meta.parent().unwrap_or(Path::new(".")),
                ambient_authority(),
            )?;
            let parent = Dir::open_ambient_dir(
                meta.parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .unwrap_or(Path::new(".")),
                ambient_authority(),
            )?;
            let name = meta.file_name().unwrap_or_default();
            let folder = Path::new(name).join(FOLDER);
            parent.create_dir_with(&folder, &builder)?;
            sync_dir(&parent)?;
            let dir = parent.open_dir(&folder)?;
            for entry in dir.entries()? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().ends_with(".tmp") {
                    dir.remove_file(entry.file_name())?;
                }
            }
            Ok(dir)
        };
        match open() {
            Ok(dir) => Ok(Self {
                meta: meta.to_owned(),
                path,
                dir,
                lock: None,
            }),
            Err(error) => Err(failed("open", &path, error)),
        }
    }

    /// Keeps the lock of the state directory for as long as this is used.
    pub(crate) fn with_lock(mut self, lock: Arc<StateLock>) -> Self {
        self.lock = Some(lock);
        self
    }

    /// The state directory of the database.
    pub(crate) fn meta(&self) -> &Path {
        &self.meta
    }

    /// The names of the sealed files, oldest first.
    pub(crate) fn names(&self) -> Result<Vec<FileName>> {
        let list = || -> io::Result<Vec<FileName>> {
            let mut names = Vec::new();
            for entry in self.dir.entries()? {
                let name = entry?.file_name();
                if let Some(name) = name.to_str().and_then(|text| text.parse().ok()) {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|error| failed("list", &self.path, error))
    }

    /// The newest file, read to its end. One that is damaged, as a power cut may leave it, is set
    /// aside: what it held is still in the database.
    pub(crate) fn newest(&self) -> Result<Option<SealedFile>> {
        for name in self.names()?.into_iter().rev() {
            match self.verify(name) {
                Ok(header) if header.range == name.range() => {
                    return Ok(Some(SealedFile { name, header }));
                }
                Ok(_) => tracing::warn!(%name, "local file is not what its name says; removed"),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(%name, %error, "local file is damaged; removed");
                }
                Err(error) => return Err(error),
            }
            self.remove(name)?;
        }
        Ok(None)
    }

    /// Reads a sealed file to its end and checks its checksum; returns its header.
    pub(crate) fn verify(&self, name: FileName) -> Result<Header> {
        let mut reader = Reader::new(self.open_file(name)?);
        let failed = |error| self.unreadable(name, error);
        let header = reader.header().map_err(failed)?;
        while reader.next_page().map_err(failed)?.is_some() {}
        Ok(header)
    }

    /// The content of one page in a sealed file; `None` if the file does not have it.
    pub(crate) fn page(&self, name: FileName, wanted: Pgno) -> Result<Option<Vec<u8>>> {
        let mut reader = Reader::new(self.open_file(name)?);
        let failed = |error| self.unreadable(name, error);
        while let Some((pgno, page)) = reader.next_page().map_err(failed)? {
            if pgno == wanted {
                return Ok(Some(page.to_vec()));
            }
        }
        Ok(None)
    }

    /// The header of a sealed file.
    pub(crate) fn header(&self, name: FileName) -> Result<Header> {
        let mut reader = Reader::new(self.open_file(name)?);
        reader
            .header()
            .map_err(|error| self.unreadable(name, error))
    }

    /// Bytes that are wrong are damage; bytes that do not come may come the next time.
    fn unreadable(&self, name: FileName, error: ReadError) -> Error {
        let path = self.path.join(name.to_string());
        match error {
            ReadError::Io(error) => failed("read", &path, error),
            error => Error::corrupt(format!("{} is damaged", path.display())).with_source(error),
        }
    }

    /// The size of a sealed file in bytes.
    pub(crate) fn size(&self, name: FileName) -> Result<u64> {
        let text = name.to_string();
        self.dir
            .metadata(&text)
            .map(|metadata| metadata.len())
            .map_err(|error| failed("look at", &self.path.join(text), error))
    }

    /// The checksum that a sealed file states of itself, in its last bytes.
    pub(crate) fn checksum(&self, name: FileName) -> Result<u64> {
        let file = self.open_file(name)?;
        let mut bytes = [0; 8];
        let at = self.size(name)?.saturating_sub(bytes.len() as u64);
        file.read_exact_at(&mut bytes, at)
            .map_err(|error| failed("read", &self.path.join(name.to_string()), error))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Opens a sealed file for reading.
    pub(crate) fn open_file(&self, name: FileName) -> Result<std::fs::File> {
        let text = name.to_string();
        self.dir
            .open(&text)
            .map(File::into_std)
            .map_err(|error| failed("open", &self.path.join(text), error))
    }

    /// Starts the file of `txid`; nothing is visible until it is sealed.
    pub(crate) fn create(&self, txid: Txid) -> Result<Draft<'_>> {
        let name = FileName::new(TxidRange::single(txid));
        let temporary = format!("{name}.tmp");
        let create = || -> io::Result<File> {
            match self.dir.remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let file = self.dir.open_with(&temporary, &options)?;
            // The process's umask may have taken bits away.
            fchmod(file.as_fd(), Mode::RUSR | Mode::WUSR)?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Draft {
                spool: self,
                name,
                temporary,
                file: file.into_std(),
                sealed: false,
            }),
            Err(error) => Err(failed("create", &self.path.join(temporary), error)),
        }
    }

    /// Whether a sealed file was replaced by another one under its name. One that was removed was
    /// not.
    pub(crate) fn is_replaced(&self, name: FileName, sealed: FileIdentity) -> bool {
        let found = self.dir.metadata(name.to_string());
        found.is_ok_and(|found| {
            let found = FileIdentity {
                device: found.dev(),
                inode: found.ino(),
            };
            found != sealed
        })
    }

    /// Removes one sealed file.
    pub(crate) fn remove(&self, name: FileName) -> Result<()> {
        let remove = || -> io::Result<()> {
            self.dir.remove_file(name.to_string())?;
            sync_dir(&self.dir)
        };
        remove().map_err(|error| failed("remove", &self.path.join(name.to_string()), error))
    }

    /// Removes every sealed file.
    pub(crate) fn clear(&self) -> Result<()> {
        self.names()?
            .into_iter()
            .try_for_each(|name| self.remove(name))
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    spool: &'a Spool,
    name: FileName,
    temporary: String,
    file: std::fs::File,
    sealed: bool,
}

impl Draft<'_> {
    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| failed("write", &self.spool.path.join(&self.temporary), error))
    }

    /// Makes the file durable under its name: file synced, renamed, directory synced. Returns what
    /// tells it from any other file that may get that name.
    pub(crate) fn seal(mut self) -> Result<FileIdentity> {
        let name = self.name.to_string();
        let seal = || -> io::Result<FileIdentity> {
            self.file.sync_all()?;
            self.spool
                .dir
                .rename(&self.temporary, &self.spool.dir, &name)?;
            sync_dir(&self.spool.dir)?;
            let metadata = self.file.metadata()?;
            Ok(FileIdentity {
                device: std::os::unix::fs::MetadataExt::dev(&metadata),
                inode: std::os::unix::fs::MetadataExt::ino(&metadata),
            })
        };
        let sealed = seal();
        let identity =
            sealed.map_err(|error| failed("seal", &self.spool.path.join(&name), error))?;
        self.sealed = true;
        Ok(identity)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.sealed {
            // What stays behind is removed at the next start.
            let _ = self.spool.dir.remove_file(&self.temporary);
        }
    }
}

/// Tells files apart that have the same name one after the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

fn sync_dir(dir: &Dir) -> io::Result<()> {
    // The handle of a `Dir` only names the directory; syncing needs one that is open for reading.
    dir.open(".")?.sync_all()
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {what} {}", path.display())).with_source(error)
}
