//! Segments on disk, the oldest of which go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::TraceSettings;
use super::format::{BEGIN_LEN, NAME, VERSION};

/// How a segment is called after its number.
const SUFFIX: &str = ".trace";
/// Into how many segments the room is divided: what goes at a time is one of them.
const SEGMENTS: u64 = 16;
/// Segments of processes that ended soon are small; so many are kept.
const SEGMENTS_MAX: usize = 256;
const BYTES_MIN: u64 = 1 << 20;

/// The segments of one trace.
#[derive(Debug)]
pub(in super::super) struct Ring {
    folder: PathBuf,
    bytes_max: u64,
    next: u64,
    current: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    bytes: u64,
}

impl Ring {
    /// Makes the folder, and finds where to go on. What is there is never changed: whoever wrote it
    /// may have ended in the middle of a block.
    pub(in super::super) fn open(settings: &TraceSettings) -> io::Result<Self> {
        fs::create_dir_all(&settings.folder)?;
        let last = segments(&settings.folder)?
            .last()
            .map_or(0, |(number, _)| *number);
        Ok(Self {
            folder: settings.folder.clone(),
            bytes_max: settings.bytes_max.max(BYTES_MIN),
            next: last.saturating_add(1),
            current: None,
        })
    }

    /// Adds a block in one write. After an error it goes on with a new segment.
    pub(in super::super) fn append(&mut self, block: &[u8]) -> io::Result<()> {
        let length = block.len() as u64;
        let segment_max = self.bytes_max / SEGMENTS;
        let mut segment = match self.current.take() {
            Some(segment) if segment.bytes.saturating_add(length) <= segment_max => segment,
            _ => self.begin()?,
        };
        segment.file.write_all(block)?;
        segment.bytes = segment.bytes.saturating_add(length);
        self.current = Some(segment);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Segment> {
        let path = self.folder.join(format!("{:016x}{SUFFIX}", self.next));
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.next = self.next.saturating_add(1);
        let mut begin = NAME.to_vec();
        begin.push(VERSION);
        file.write_all(&begin)?;
        self.make_room()?;
        Ok(Segment {
            file,
            bytes: BEGIN_LEN as u64,
        })
    }

    /// Removes the oldest segments until one more fits.
    fn make_room(&self) -> io::Result<()> {
        let all = segments(&self.folder)?;
        let mut bytes = self.bytes_max / SEGMENTS;
        for (back, (_, path)) in all.iter().rev().enumerate() {
            bytes = bytes.saturating_add(fs::metadata(path)?.len());
            // The last one is the one that was just begun.
            if back > 0 && (bytes > self.bytes_max || back >= SEGMENTS_MAX) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The segments of a folder with their numbers, oldest first.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(|number| u64::from_str_radix(number, 16).ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
