//! Reads a trace, as far as it is whole.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::vec;

use super::Record;
use super::format::{HEADER_LEN, MAGIC, decode, lengths};
use super::ring::segments;
use crate::{Error, Result};

/// The records of a trace, oldest first. One block of them is in memory at a time.
///
/// # Example
///
/// ```no_run
/// use lockkeeper::policy::trace::TraceReader;
/// for record in TraceReader::open("app.db-decisions")? {
///     println!("{} {}", record.facts.name(), record.outcome);
/// }
/// # Ok::<(), lockkeeper::Error>(())
/// ```
#[derive(Debug)]
pub struct TraceReader {
    segments: vec::IntoIter<PathBuf>,
    current: Option<BufReader<File>>,
    records: vec::IntoIter<Record>,
}

impl TraceReader {
    /// Opens a folder of segments, or a single one.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be read; `Invalid` if it is no trace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error| {
            Error::unavailable(format!("cannot read the trace {}", path.display()))
                .with_source(error)
        };
        let found: Vec<PathBuf> = if path.is_dir() {
            let found = segments(path).map_err(failed)?;
            found.into_iter().map(|(_, path)| path).collect()
        } else {
            File::open(path).map_err(failed)?;
            vec![path.to_owned()]
        };
        // A segment may be empty: its process was killed before it wrote anything.
        let is_other = |path: &PathBuf| begin(path).is_none() && has_bytes(path);
        if found.is_empty() || found.iter().all(is_other) {
            return Err(Error::invalid(format!(
                "{} is no trace of decisions, or none that this version can read",
                path.display()
            )));
        }
        Ok(Self {
            segments: found.into_iter(),
            current: None,
            records: Vec::new().into_iter(),
        })
    }

    /// The records of the next block; `None` where the segment ends.
    fn block(&mut self) -> Option<Vec<Record>> {
        let file = self.current.as_mut()?;
        let mut header = [0; HEADER_LEN];
        file.read_exact(&mut header).ok()?;
        let (length, _) = lengths(header)?;
        let mut payload = Vec::new();
        let limit = u64::try_from(length).ok()?;
        file.take(limit).read_to_end(&mut payload).ok()?;
        (payload.len() == length).then(|| decode(header, &payload))?
    }
}

impl Iterator for TraceReader {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(record);
            }
            if let Some(records) = self.block() {
                self.records = records.into_iter();
            } else {
                // A segment that cannot be read is like one that was cut before its first block.
                self.current = begin(&self.segments.next()?);
            }
        }
    }
}

fn begin(path: &Path) -> Option<BufReader<File>> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok()?;
    (magic == *MAGIC).then_some(file)
}

fn has_bytes(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|known| known.len() >= MAGIC.len() as u64)
}
