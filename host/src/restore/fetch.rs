use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future, stream};
use tokio::sync::mpsc;

use super::feed::FeedSender;
use super::{Progress, ProgressFn};
use crate::store::{FetchError, Source, Store, Wanted};

/// Files whose beginning is read before it is their turn: enough to hide the time that a request
/// takes, and few enough for any limit of descriptors.
const FILES_AHEAD_MAX: usize = 16;
/// Bytes of such a beginning; a piece of a body may go past it.
const HEAD_LEN: usize = 1 << 20;
/// Bytes that wait here at most. Besides the files ahead, one waits for its turn, one is sent, and
/// one is between the two; stores cut bodies into pieces that are smaller than a beginning.
pub(super) const BYTES_MAX: usize = (FILES_AHEAD_MAX + 3) * 2 * HEAD_LEN;
/// Sends the bytes of `files`, one file after the other. A reader that is gone is no error here:
/// it says why.
pub(super) async fn fetch(
    store: &dyn Store,
    files: &[Wanted],
    progress: Option<&ProgressFn>,
    feed: FeedSender,
) -> Result<(), FetchError> {
    // Beginnings go on being read while the rest of a large file is sent.
    let (opened, mut ready) = mpsc::channel(1);
    let ahead = async move {
        // Boxed, for the compiler does not see otherwise that what borrows a file can be sent.
        let heads = files.iter().map(|file| Opened::new(store, file).boxed());
        let heads: Vec<BoxFuture<'_, _>> = heads.collect();
        let mut heads = stream::iter(heads).buffered(FILES_AHEAD_MAX);
        while let Some(source) = heads.try_next().await? {
            if opened.send(source).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let report = Report::new(files, progress);
    let sending = async move {
        let mut report = report;
        while let Some(source) = ready.recv().await {
            if !send(source, &feed, &mut report).await? {
                break;
            }
        }
        Ok(())
    };
    future::try_join(ahead, sending).await.map(|((), ())| ())
}

/// Sends one file; false if nobody reads.
async fn send(
    mut source: Opened<'_>,
    feed: &FeedSender,
    report: &mut Report<'_>,
) -> Result<bool, FetchError> {
    for piece in std::mem::take(&mut source.head) {
        report.bytes(piece.len());
        if feed.bytes(piece).await.is_err() {
            return Ok(false);
        }
    }
    while let Some(piece) = source.rest.next().await? {
        report.bytes(piece.len());
        if feed.bytes(piece).await.is_err() {
            return Ok(false);
        }
    }
    report.file();
    Ok(feed.end_of_file().await.is_ok())
}

/// Counts what was read.
struct Report<'a> {
    at: Progress,
    progress: Option<&'a ProgressFn>,
}

impl<'a> Report<'a> {
    fn new(files: &[Wanted], progress: Option<&'a ProgressFn>) -> Self {
        let sizes = files.iter().map(|file| file.size);
        let at = Progress {
            bytes_total: sizes.fold(0, u64::saturating_add),
            files_total: files.len(),
            ..Progress::default()
        };
        Self { at, progress }
    }

    fn bytes(&mut self, len: usize) {
        self.at.bytes += len as u64;
        self.progress.inspect(|report| report(self.at));
    }

    fn file(&mut self) {
        self.at.files += 1;
        self.progress.inspect(|report| report(self.at));
    }
}

/// A file with its beginning.
struct Opened<'a> {
    head: Vec<Bytes>,
    rest: Source<'a>,
}

impl<'a> Opened<'a> {
    async fn new(store: &'a dyn Store, file: &'a Wanted) -> Result<Self, FetchError> {
        let mut opened = Self {
            head: Vec::new(),
            rest: Source::new(store, file),
        };
        while opened.rest.offset() < HEAD_LEN as u64
            && let Some(piece) = opened.rest.next().await?
        {
            opened.head.push(piece);
        }
        Ok(opened)
    }
}
