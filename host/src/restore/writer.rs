use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::{Error, Result};

/// Bytes per write: neighbouring pages are written together, because a call per page costs more
/// than the copying.
const RUN_LEN: usize = 1 << 20;
/// Runs that may wait for the disk.
const RUNS_MAX: usize = 8;
/// Bytes that wait here at most: besides the queue, one run is being filled and one written.
pub(super) const BYTES_MAX: usize = (RUNS_MAX + 2) * RUN_LEN;

/// Neighbouring pages.
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

/// Takes pages in any order and writes them to a file on a thread of its own, so that the next
/// ones are decompressed meanwhile.
pub(super) struct PageWriter {
    run: Run,
    full: SyncSender<Run>,
    /// Buffers that were written, to be filled again.
    free: Receiver<Vec<u8>>,
}

impl PageWriter {
    /// Runs `work` with a writer to `file`. When this returns without an error, everything is
    /// written, but not synced.
    ///
    /// # Errors
    ///
    /// That of `work`, unless writing failed.
    pub(super) fn with<T>(file: &File, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (full, written) = sync_channel(RUNS_MAX);
        let (freed, free) = sync_channel(RUNS_MAX + 2);
        thread::scope(|scope| {
            let thread = scope.spawn(move || write(file, &written, &freed));
            let run = Run {
                offset: 0,
                bytes: Vec::with_capacity(RUN_LEN),
            };
            let mut writer = Self { run, full, free };
            let done = work(&mut writer).and_then(|done| {
                writer.flush()?;
                Ok(done)
            });
            // Ends the thread.
            drop(writer);
            let written = thread.join();
            let written = written.map_err(|_| Error::internal("the writer of pages stopped"))?;
            written.map_err(|e| {
                Error::unavailable("cannot write the restored database").with_source(e)
            })?;
            done
        })
    }

    /// Writes a page to where it belongs, in bytes from the start of the file.
    pub(super) fn page(&mut self, offset: u64, page: &[u8]) -> Result<()> {
        let len = self.run.bytes.len();
        if self.run.offset + len as u64 != offset || len + page.len() > RUN_LEN {
            self.flush()?;
            self.run.offset = offset;
        }
        self.run.bytes.extend_from_slice(page);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.run.bytes.is_empty() {
            return Ok(());
        }
        let bytes = self.free.try_recv();
        let bytes = bytes.unwrap_or_else(|_| Vec::with_capacity(RUN_LEN));
        let run = std::mem::replace(&mut self.run, Run { offset: 0, bytes });
        // The thread says why it ended.
        let sent = self.full.send(run);
        sent.map_err(|_| Error::unavailable("the disk takes no more pages"))
    }
}

fn write(file: &File, full: &Receiver<Run>, freed: &SyncSender<Vec<u8>>) -> io::Result<()> {
    for Run { offset, mut bytes } in full {
        file.write_all_at(&bytes, offset)?;
        bytes.clear();
        // Nobody may be left to fill it again.
        let _ = freed.try_send(bytes);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn pages_in_any_order_come_to_their_places() {
        let file = tempfile::tempfile().unwrap();
        let places: Vec<u64> = (0..9_000).map(|n| n * 7 % 9_000).collect();
        let page = |n: u64| [(n % 251) as u8; 512];
        PageWriter::with(&file, |writer| {
            for n in places.iter().copied().chain(9_000..18_000) {
                writer.page(n * 512, &page(n))?;
            }
            Ok(())
        })
        .unwrap();
        let mut found = [0; 512];
        for n in 0..18_000 {
            file.read_exact_at(&mut found, n * 512).unwrap();
            assert!(found == page(n), "{n}");
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error_and_no_deadlock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let read_only = File::open(dir.path().join("a")).unwrap();
        let done = PageWriter::with(&read_only, |writer| {
            for n in 0..100 {
                writer.page(n * 2 * RUN_LEN as u64, &[1; 512])?;
            }
            Ok(())
        });
        let text = done.unwrap_err().to_string();
        assert!(
            text.starts_with("cannot write the restored database"),
            "{text}"
        );
    }
}
