//! Reads a trace, as far as it is whole.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::vec;

use super::Record;
use super::format::{BEGIN_LEN, HEADER_LEN, NAME, VERSION, VERSION_MIN, decode, lengths};
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
    /// `Unavailable` if it cannot be read; `Invalid` if it is no trace, or if a part of it has a
    /// version that is not read here.
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
        let begun: Vec<Begin> = found.iter().map(|path| begin(path)).collect();
        let other = begun
            .iter()
            .zip(&found)
            .find_map(|(begun, path)| match begun {
                Begin::OfVersion(version) => Some((version, path)),
                _ => None,
            });
        if let Some((version, path)) = other {
            return Err(Error::invalid(format!(
                "the trace {} has version {version} of its format, and versions {VERSION_MIN} to \
                 {VERSION} are read here; read it with the lockkeeper that wrote it",
                path.display()
            )));
        }
        if begun.iter().all(|begun| matches!(begun, Begin::Other)) {
            return Err(Error::invalid(format!(
                "{} is no trace of decisions",
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
                self.current = match begin(&self.segments.next()?) {
                    Begin::Readable(file) => Some(file),
                    Begin::Empty | Begin::OfVersion(_) | Begin::Other => None,
                };
            }
        }
    }
}

/// How a segment begins.
enum Begin {
    /// It is read from here on.
    Readable(BufReader<File>),
    /// Its process was killed before it wrote anything.
    Empty,
    /// It has a version that is not read here.
    OfVersion(u8),
    /// It is none.
    Other,
}

fn begin(path: &Path) -> Begin {
    let Ok(mut file) = File::open(path).map(BufReader::new) else {
        return Begin::Other;
    };
    let mut begin = Vec::with_capacity(BEGIN_LEN);
    let limit = u64::try_from(BEGIN_LEN).unwrap_or(u64::MAX);
    if file.by_ref().take(limit).read_to_end(&mut begin).is_err() {
        return Begin::Other;
    }
    match begin.strip_prefix(NAME) {
        Some(&[VERSION_MIN..=VERSION]) => Begin::Readable(file),
        Some(&[version]) => Begin::OfVersion(version),
        _ if begin.len() < BEGIN_LEN => Begin::Empty,
        _ => Begin::Other,
    }
}
