use std::fs::File;
use std::io::{Read, Write as _};

use lockkeeper_core::generations::{GenerationPlan, SegmentFile, SnapshotFile};
use lockkeeper_ltx::PageSize;
use lockkeeper_ltx::sqlite::DatabaseHeader;

use super::content::Content;
use super::log::{Log, LogError};
use crate::restore::feed::Feed;
use crate::{Error, Result};

/// Pages of the largest database that SQLite makes (SQLite, "Limits", section 13).
const PAGES_MAX: u64 = 0xffff_fffe;
/// Bytes per write: the largest page fits, and so does the header of the database.
const PIECE_LEN: usize = 256 << 10;

/// Writes the database of a plan to the empty `file` and makes it safe. The files of the plan come
/// through `feed`; `spool` is an empty file for what has to wait. Returns the size in bytes.
pub(in crate::restore) fn build(
    plan: &GenerationPlan,
    feed: &mut Feed,
    file: &File,
    spool: &File,
) -> Result<u64> {
    let page_size = write_snapshot(plan.snapshot(), feed, file)?;
    for segments in plan.segments().chunk_by(|a, b| a.index == b.index) {
        apply_log(segments, feed, file, spool, page_size)?;
    }
    let done = file.sync_all().and_then(|()| file.metadata());
    let meta =
        done.map_err(|e| Error::unavailable("cannot write the restored database").with_source(e))?;
    Ok(meta.len())
}

fn write_snapshot(snapshot: &SnapshotFile, feed: &mut Feed, mut file: &File) -> Result<PageSize> {
    let refused = |why| Error::corrupt(format!("cannot use {}: {why}", snapshot.key()));
    let mut content = Content::new(&mut *feed);
    let mut page_size = None;
    let mut size = 0;
    let mut piece = Vec::with_capacity(PIECE_LEN);
    loop {
        piece.clear();
        let mut part = content.by_ref().take(PIECE_LEN as u64);
        part.read_to_end(&mut piece)
            .map_err(|e| refused("cannot decompress it").with_source(e))?;
        if page_size.is_none() {
            let header = DatabaseHeader::parse(&piece);
            let header = header.map_err(|e| refused("it is no database").with_source(e))?;
            page_size = Some(header.page_size);
        }
        if piece.is_empty() {
            break;
        }
        size += piece.len() as u64;
        file.write_all(&piece)
            .map_err(|e| Error::unavailable("cannot write the restored database").with_source(e))?;
    }
    let page_size = page_size.ok_or_else(|| refused("it is empty"))?;
    let page_len = u64::from(page_size.get());
    if !size.is_multiple_of(page_len) || size / page_len > PAGES_MAX {
        return Err(refused("its size is not that of a database"));
    }
    feed.next_file()
        .map_err(|e| refused("cannot read it").with_source(e))?;
    Ok(page_size)
}

/// Applies one log, whose pieces `segments` are.
fn apply_log(
    segments: &[SegmentFile],
    feed: &mut Feed,
    file: &File,
    spool: &File,
    page_size: PageSize,
) -> Result<()> {
    let Some(last) = segments.last() else {
        return Ok(());
    };
    let mut log = Log::new(spool, page_size).map_err(|e| failed(last, e))?;
    for segment in segments {
        let added = log.add(segment.offset, Content::new(&mut *feed));
        let ended = added.and_then(|()| feed.next_file().map_err(LogError::Content));
        ended.map_err(|e| failed(segment, e))?;
    }
    log.apply(file).map_err(|e| failed(last, e))
}

fn failed(segment: &SegmentFile, source: LogError) -> Error {
    let text = format!("cannot use {}", segment.key());
    match source {
        LogError::Disk(_) => Error::unavailable(text).with_source(source),
        _ => Error::corrupt(text).with_source(source),
    }
}
