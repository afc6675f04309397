use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;

use lockkeeper_ltx::{PageSize, Pgno};

const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Bytes of the header with what fills it up; any power of two that SQLite takes for a sector.
const HEADER_LEN: usize = 512;

/// A rollback journal (SQLite file format, section 3): what pages held before they are overwritten.
/// If the process dies meanwhile, whoever opens the database next puts them back.
///
/// | bytes | what |
/// |---|---|
/// | 8 | magic |
/// | 4 | number of pages |
/// | 4 | nonce of the checksums |
/// | 4 | size of the database in pages |
/// | 4 | size of a sector: where the first page starts |
/// | 4 | page size |
///
/// Then, per page: its number, its content, and a checksum.
pub(super) struct Journal<'a> {
    journal: BufWriter<&'a File>,
    database: &'a File,
    page_size: PageSize,
    nonce: u32,
    pages: u32,
    database_pages: u32,
    page: Vec<u8>,
}

impl<'a> Journal<'a> {
    /// Begins a journal in the empty file `journal` for a database of `database_pages`.
    pub(super) fn new(
        journal: &'a File,
        database: &'a File,
        page_size: PageSize,
        database_pages: u32,
    ) -> io::Result<Self> {
        let mut writer = BufWriter::new(journal);
        writer.write_all(&[0; HEADER_LEN])?;
        Ok(Self {
            journal: writer,
            database,
            page_size,
            nonce: rand::random(),
            pages: 0,
            database_pages,
            page: vec![0; page_size.bytes()],
        })
    }

    /// Keeps what the page holds now. A page past the end of the database needs no keeping.
    pub(super) fn keep(&mut self, pgno: Pgno) -> io::Result<()> {
        if pgno.get() > self.database_pages || pgno == self.page_size.lock_page() {
            return Ok(());
        }
        let offset = pgno.offset(self.page_size);
        self.database.read_exact_at(&mut self.page, offset)?;
        self.journal.write_all(&pgno.get().to_be_bytes())?;
        self.journal.write_all(&self.page)?;
        let checksum = checksum(self.nonce, &self.page);
        self.journal.write_all(&checksum.to_be_bytes())?;
        self.pages += 1;
        Ok(())
    }

    /// Makes the journal valid and safe. Its name is not: that is for the caller.
    pub(super) fn finish(self) -> io::Result<()> {
        let journal = self.journal.into_inner().map_err(|e| e.into_error())?;
        // The header counts, so that it comes last.
        let fields = [
            self.pages,
            self.nonce,
            self.database_pages,
            HEADER_LEN as u32,
            self.page_size.get(),
        ];
        let mut header = MAGIC.to_vec();
        for field in fields {
            header.extend_from_slice(&field.to_be_bytes());
        }
        journal.sync_all()?;
        journal.write_all_at(&header, 0)?;
        journal.sync_all()
    }
}

/// Sums every 200th byte, from the end down to but not including the first.
fn checksum(nonce: u32, page: &[u8]) -> u32 {
    let places = (1..page.len()).rev().skip(199).step_by(200);
    let bytes = places.filter_map(|place| page.get(place));
    bytes.fold(nonce, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}
