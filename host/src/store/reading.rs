//! Reading one object to its end, taken up again where it breaks off.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use lockkeeper_core::inventory::ReplicaFile;

use super::{Body, Replica, Store};
use crate::{Error, ErrorKind};

/// How often the reading of one file is taken up again where it broke off.
const RESUMES_MAX: u32 = 4;
/// Before the first time; doubled for each further one.
const RESUME_DELAY: Duration = Duration::from_millis(250);

/// A file to read.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: String,
    /// What it is, for people.
    pub(crate) label: String,
    /// Its size in bytes, as the listing said.
    pub(crate) size: u64,
}

impl Wanted {
    pub(crate) fn ltx(replica: &Replica, file: &ReplicaFile) -> Self {
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
pub(crate) enum FetchError {
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

/// One file on its way.
pub(crate) struct Source<'a> {
    store: &'a dyn Store,
    file: &'a Wanted,
    body: Option<Body>,
    /// Bytes read so far.
    offset: u64,
    resumes: u32,
    is_ended: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(store: &'a dyn Store, file: &'a Wanted) -> Self {
        Self {
            store,
            file,
            body: None,
            offset: 0,
            resumes: 0,
            is_ended: false,
        }
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
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
                        let why = format!("{file} was deleted while it was read");
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
