//! The write-ahead log, read through one long-lived descriptor.
//!
//! SQLite takes no locks on the `-wal` file, so a descriptor of our own is harmless there, as it
//! would not be on the database or its `-shm`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use lockkeeper_ltx::Pgno;
use lockkeeper_ltx::wal::{
    FRAME_HEADER_LEN, Next, WAL_HEADER_LEN, WalHeader, WalReader, frame_offset,
};

use crate::{Error, Result};

/// How much of the log is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Where the newest copy of each page stands in the log: the index of its frame.
pub(super) type FrameMap = BTreeMap<Pgno, u64>;

/// A place in one log: everything before it was captured.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The header of that log; its salts tell logs apart.
    pub(super) header: WalHeader,
    /// Walks on from here.
    pub(super) reader: WalReader,
    /// What SQLite's count of transactions was here; `None` if that is not known.
    pub(super) changes: Option<u32>,
}

impl Position {
    pub(super) fn start_of(header: WalHeader) -> Self {
        Self {
            header,
            reader: WalReader::new(&header),
            changes: None,
        }
    }

    pub(super) fn frames(&self) -> u64 {
        self.reader.frames()
    }

    pub(super) fn salts(&self) -> (u32, u32) {
        (self.header.salt1, self.header.salt2)
    }

    pub(super) fn is_same_log(&self, header: &WalHeader) -> bool {
        self.salts() == (header.salt1, header.salt2)
    }
}

/// A run of whole transactions in the log.
#[derive(Debug)]
pub(super) struct Run {
    /// The place after it.
    pub(super) end: Position,
    /// The frames of the pages it wrote.
    pub(super) pages: FrameMap,
    /// Size of the database after it, in pages.
    pub(super) commit: u32,
}

impl Run {
    /// Drops the pages that a shrinking transaction cut off.
    fn finish(mut self) -> Self {
        let commit = self.commit;
        self.pages.retain(|pgno, _| pgno.get() <= commit);
        self
    }
}

/// The log file of one database.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    pub(super) fn open(database: &Path) -> Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let path = PathBuf::from(path);
        let file = File::open(&path).map_err(|e| read_error(&path, e))?;
        Ok(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle on the same file.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let file = self
            .file
            .try_clone()
            .map_err(|e| read_error(&self.path, e))?;
        Ok(Self {
            path: self.path.clone(),
            file,
        })
    }

    /// Whether the name still leads to the file that is open here.
    pub(super) fn is_in_place(&self) -> bool {
        let identity = |m: std::fs::Metadata| (m.dev(), m.ino());
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(named)) => identity(ours) == identity(named),
            _ => false,
        }
    }

    /// The header; `None` if the log is empty.
    pub(super) fn header(&self) -> Result<Option<WalHeader>> {
        let mut bytes = [0; WAL_HEADER_LEN];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(read_error(&self.path, error)),
        }
        // A header that is being written reads as an invalid one; the next call sees it whole.
        Ok(WalHeader::parse(&bytes).ok())
    }

    /// Walks through the transactions between `from` and frame `frames_end`, but stops at the end
    /// of the first transaction that passes `max_bytes`. `None` if the log does not go on to there.
    pub(super) fn read(
        &self,
        from: &Position,
        frames_end: u64,
        max_bytes: u64,
    ) -> Result<Option<Run>> {
        let page_size = from.header.page_size;
        let frame_len = FRAME_HEADER_LEN.saturating_add(page_size.bytes());
        let chunk_frames = (CHUNK_BYTES / frame_len).max(1) as u64;
        let mut reader = from.reader.clone();
        let (mut pending, mut run) = (FrameMap::new(), None::<Run>);
        let mut changes = from.changes;
        let mut buffer = Vec::new();
        'log: while reader.frames() < frames_end {
            let count = chunk_frames.min(frames_end.saturating_sub(reader.frames()));
            let offset = frame_offset(reader.frames(), page_size);
            buffer.resize(
                frame_len.saturating_mul(usize::try_from(count).unwrap_or(1)),
                0,
            );
            match self.file.read_exact_at(&mut buffer, offset) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(read_error(&self.path, error)),
            }
            let mut input = buffer.as_slice();
            while !input.is_empty() {
                let index = reader.frames();
                let Next::Frame(frame) = reader.next(&mut input) else {
                    return Ok(None);
                };
                pending.insert(frame.pgno, index);
                let Some(commit) = frame.commit else { continue };
                changes = changes.map(|changes| changes.wrapping_add(1));
                let end = Position {
                    header: from.header,
                    reader: reader.clone(),
                    changes,
                };
                let run = run.get_or_insert_with(|| Run {
                    end: end.clone(),
                    pages: FrameMap::new(),
                    commit,
                });
                run.end = end;
                run.commit = commit;
                // Not `append`, which rebuilds the whole map each time.
                run.pages.extend(std::mem::take(&mut pending));
                let bytes = reader
                    .frames()
                    .saturating_sub(from.frames())
                    .saturating_mul(frame_len as u64);
                if max_bytes > 0 && bytes >= max_bytes {
                    break 'log;
                }
            }
        }
        // Frames after the last commit would mean that `frames_end` was no commit boundary.
        if !pending.is_empty() {
            return Ok(None);
        }
        Ok(run.map(Run::finish))
    }

    /// Reads bytes that must be there.
    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|e| read_error(&self.path, e))
    }
}

fn read_error(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot read the log {}", path.display())).with_source(error)
}
