use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future, stream};
use lockkeeper_core::inventory::ReplicaFile;
use tokio::sync::mpsc;

use super::feed::FeedSender;
use super::{Progress, ProgressFn};
use crate::store::{Body, Replica, Store};
use crate::{Error, ErrorKind};

/// Files whose beginning is read before it is their turn: enough to hide the time that a request
/// takes, and few enough for any limit of descriptors.
const FILES_AHEAD_MAX: usize = 16;
/// Bytes of such a beginning; a piece of a body may go past it.
const HEAD_LEN: usize = 1 << 20;
/// Bytes that wait here at most. Besides the files ahead, one waits for its turn, one is sent, and
/// one is between the two; stores cut bodies into pieces that are smaller than a beginning.
pub(super) const BYTES_MAX: usize = (FILES_AHEAD_MAX + 3) * 2 * HEAD_LEN;
/// How often the reading of one file is taken up again where it broke off.
const RESUMES_MAX: u32 = 4;
/// Before the first time; doubled for each further one.
const RESUME_DELAY: Duration = Duration::from_millis(250);

/// A file to read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: String,
    /// What it is, for people.
    pub(super) label: String,
    /// Its size in bytes, as the listing said.
    pub(super) size: u64,
}

impl Wanted {
    pub(super) fn ltx(replica: &Replica, file: &ReplicaFile) -> Self {
        Self {
            key: replica.key(file.level, file.name),
            label: format!("level {} {} of {replica}", file.level, file.name),
            size: file.size,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// Why files could not be read.
pub(super) enum FetchError {
    /// One was listed and is no longer there; another plan may do without it.
    Gone(Error),
    /// Anything else.
    Failed(Error),
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Gone(error) | FetchError::Failed(error) => error,
        }
    }
}

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
        let heads = files
            .iter()
            .map(|file| Source::new(store, file).with_head().boxed());
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
    mut source: Source<'_>,
    feed: &FeedSender,
    report: &mut Report<'_>,
) -> Result<bool, FetchError> {
    for piece in std::mem::take(&mut source.head) {
        report.bytes(piece.len());
        if feed.bytes(piece).await.is_err() {
            return Ok(false);
        }
    }
    while let Some(piece) = source.next().await? {
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

/// One file on its way.
struct Source<'a> {
    store: &'a dyn Store,
    file: &'a Wanted,
    body: Option<Body>,
    /// Bytes read so far.
    offset: u64,
    resumes: u32,
    is_ended: bool,
    head: Vec<Bytes>,
}

impl<'a> Source<'a> {
    fn new(store: &'a dyn Store, file: &'a Wanted) -> Self {
        Self {
            store,
            file,
            body: None,
            offset: 0,
            resumes: 0,
            is_ended: false,
            head: Vec::new(),
        }
    }

    async fn with_head(mut self) -> Result<Self, FetchError> {
        while self.offset < HEAD_LEN as u64
            && let Some(piece) = self.next().await?
        {
            self.head.push(piece);
        }
        Ok(self)
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.is_ended {
            match self.read().await {
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(None) => self.is_ended = true,
                Err(FetchError::Failed(error)) if error.kind() == ErrorKind::Unavailable => {
                    self.body = None;
                    if self.resumes == RESUMES_MAX {
                        return Err(FetchError::Failed(error));
                    }
                    tracing::warn!(file = %self.file, offset = self.offset, %error, "reading again");
                    tokio::time::sleep(RESUME_DELAY * 2_u32.pow(self.resumes)).await;
                    self.resumes += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Self { store, file, .. } = *self;
        if self.offset >= file.size && self.body.is_some() {
            // Objects never change, so that nothing comes after what was listed.
            self.body = None;
            return Ok(None);
        }
        let broken = |why: String| Error::unavailable(format!("cannot read {file}: {why}"));
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let found = store.get(&file.key, self.offset).await;
                match found.map_err(FetchError::Failed)? {
                    Some(body) => none.insert(body),
                    None => {
                        let why = format!("{file} was deleted during the restore");
                        return Err(FetchError::Gone(Error::unavailable(why)));
                    }
                }
            }
        };
        match body.next().await {
            Some(Ok(piece)) => Ok(Some(piece)),
            Some(Err(source)) => {
                let at = format!("it broke off at byte {}", self.offset);
                Err(FetchError::Failed(broken(at).with_source(source)))
            }
            None if self.offset < file.size => {
                let at = format!("it ended at byte {} of {}", self.offset, file.size);
                Err(FetchError::Failed(broken(at)))
            }
            None => Ok(None),
        }
    }
}
