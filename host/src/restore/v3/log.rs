use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use lockkeeper_ltx::wal::{FRAME_HEADER_LEN, Next, WAL_HEADER_LEN, WalHeader, WalReader};
use lockkeeper_ltx::{DecodeError, PageSize, Pgno};

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("cannot decompress it")]
    Content(#[source] io::Error),
    #[error("it begins at byte {offset}, but the log so far has {len} bytes")]
    Offset { offset: u64, len: u64 },
    #[error("the log header is invalid")]
    Header(#[source] DecodeError),
    #[error("its page size is {found}, and {database} in the database")]
    PageSize { found: PageSize, database: PageSize },
    #[error("frame {0} does not continue the log")]
    Frame(u64),
    #[error("the log ends in the middle of a frame")]
    Partial,
    #[error("cannot write the restored database")]
    Disk(#[source] io::Error),
}

/// A log that comes in pieces. Whether a transaction was committed shows at its end, and it may be
/// larger than memory, so its pages wait in a temporary file.
///
/// SQLite takes the first invalid frame for the end of a log. Litestream 0.3 copied only valid
/// frames, so here it is damage: what comes after it would be lost without a word.
pub(super) struct Log<'a> {
    spool: BufWriter<&'a File>,
    page_size: PageSize,
    reader: Option<WalReader>,
    /// The log header or the frame that is being put together.
    buf: Vec<u8>,
    /// Bytes of the log so far.
    len: u64,
    committed: Option<Committed>,
}

/// The part of a log that was committed.
struct Committed {
    frames: u64,
    /// Size of the database after it.
    pages: u32,
}

impl<'a> Log<'a> {
    /// An empty log of a database with pages of `page_size`. What `spool` holds is overwritten.
    pub(super) fn new(mut spool: &'a File, page_size: PageSize) -> Result<Self, LogError> {
        spool.seek(SeekFrom::Start(0)).map_err(LogError::Disk)?;
        Ok(Self {
            spool: BufWriter::new(spool),
            page_size,
            reader: None,
            buf: Vec::new(),
            len: 0,
            committed: None,
        })
    }

    /// Adds the piece that begins at `offset`.
    pub(super) fn add(&mut self, offset: u64, mut content: impl Read) -> Result<(), LogError> {
        if offset != self.len {
            let len = self.len;
            return Err(LogError::Offset { offset, len });
        }
        loop {
            let missing = self.unit_len().saturating_sub(self.buf.len());
            let mut part = content.by_ref().take(missing as u64);
            let read = part.read_to_end(&mut self.buf);
            let read = read.map_err(LogError::Content)?;
            self.len += read as u64;
            if read < missing {
                return Ok(());
            }
            self.unit()?;
            self.buf.clear();
        }
    }

    fn unit_len(&self) -> usize {
        match self.reader {
            None => WAL_HEADER_LEN,
            Some(_) => FRAME_HEADER_LEN + self.page_size.bytes(),
        }
    }

    /// Takes the header or the frame that the buffer holds.
    fn unit(&mut self) -> Result<(), LogError> {
        let Some(reader) = &mut self.reader else {
            let bytes = self.buf.first_chunk().ok_or(LogError::Partial)?;
            let header = WalHeader::parse(bytes).map_err(LogError::Header)?;
            if header.page_size != self.page_size {
                let (found, database) = (header.page_size, self.page_size);
                return Err(LogError::PageSize { found, database });
            }
            self.reader = Some(WalReader::new(&header));
            return Ok(());
        };
        let Next::Frame(frame) = reader.next(&mut self.buf.as_slice()) else {
            return Err(LogError::Frame(reader.frames()));
        };
        let written = self.spool.write_all(&frame.pgno.get().to_be_bytes());
        written
            .and_then(|()| self.spool.write_all(frame.page))
            .map_err(LogError::Disk)?;
        if let Some(pages) = frame.commit {
            let frames = reader.frames();
            self.committed = Some(Committed { frames, pages });
        }
        Ok(())
    }

    /// Ends the log, and applies what was committed to `database`: a later frame of a page wins,
    /// pages past the end go, and only then the file gets its size, as SQLite does it. Without a
    /// commit nothing is changed.
    pub(super) fn apply(self, database: &File) -> Result<(), LogError> {
        if !self.buf.is_empty() || self.reader.is_none() {
            return Err(LogError::Partial);
        }
        let spool = self
            .spool
            .into_inner()
            .map_err(|e| LogError::Disk(e.into_error()))?;
        let Some(committed) = self.committed else {
            return Ok(());
        };
        copy_pages(spool, database, self.page_size, committed).map_err(LogError::Disk)
    }
}

fn copy_pages(
    mut spool: &File,
    database: &File,
    page_size: PageSize,
    committed: Committed,
) -> io::Result<()> {
    spool.seek(SeekFrom::Start(0))?;
    let mut spool = BufReader::new(spool);
    let mut page = vec![0; page_size.bytes()];
    for _ in 0..committed.frames {
        let mut pgno = [0; 4];
        spool.read_exact(&mut pgno)?;
        spool.read_exact(&mut page)?;
        if let Some(pgno) = Pgno::new(u32::from_be_bytes(pgno))
            && pgno.get() <= committed.pages
        {
            database.write_all_at(&page, pgno.offset(page_size))?;
        }
    }
    database.set_len(u64::from(committed.pages) * u64::from(page_size.get()))
}
