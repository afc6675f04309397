//! Merging files of one level into one file of the next.
//!
//! Inputs are read as streams, from the local copy where there is one, and the output is sent as it
//! is made, so memory does not grow with the size of files.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use futures::stream;
use lockkeeper_core::guard::merges::Merge;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{Encoder, FileName, Level, MergeError, PageEncoding, Reader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::database::blocking;
use crate::spool::Spool;
use crate::store::{Body, Replica, Source, Wanted};
use crate::{Error, Result};

/// Encoded bytes that are collected before they are sent on.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces of the output that wait for the store.
const OUTPUT_QUEUE: usize = 4;
/// Pieces of an input that wait for the merge. There may be hundreds of inputs.
const INPUT_QUEUE: usize = 1;

/// How a merge ended.
#[derive(Debug)]
pub(super) enum Merged {
    /// The replica has the file.
    Done(ReplicaFile),
    /// The page size changes after so many inputs: what comes after cannot be in one file with
    /// what came before.
    Cut(usize),
}

/// What was made of the inputs.
enum Output {
    Whole(Written),
    /// The store does not take it any more, and says why.
    Refused,
    Cut(usize),
}

/// The merged file as it was sent.
struct Written {
    created_ms: i64,
    size: u64,
    checksum: u64,
}

/// Makes the merge and confirms what the replica then holds: its size and its checksum, read back.
///
/// # Errors
///
/// If an input cannot be read or the output not be confirmed; then there is no output.
pub(super) async fn run(
    replica: &Replica,
    spool: &Arc<Spool>,
    merge: &Merge,
    encoding: PageEncoding,
) -> Result<Merged> {
    let (level, name) = (merge.level(), FileName::new(merge.range()));
    // Ends the readers of inputs when this is dropped.
    let mut readers = JoinSet::new();
    let inputs = open_inputs(replica, spool, merge, &mut readers).await?;
    let (pieces, output) = mpsc::channel::<io::Result<Bytes>>(OUTPUT_QUEUE);
    let (begun, beginning) = oneshot::channel();
    let writing = tokio::task::spawn_blocking(move || {
        let written = write(inputs, encoding, &pieces, begun);
        if written.is_err() {
            // The upload must fail too: half a file is none.
            let _ = pieces.blocking_send(Err(io::Error::other("the merge failed")));
        }
        written
    });
    let sent = match beginning.await {
        Ok(created_ms) => replica.put(level, name, created_ms, body(output)).await,
        // The merge ended before its first byte, and says why below.
        Err(_) => Ok(0),
    };
    let written = writing
        .await
        .map_err(|error| Error::internal("the merge died").with_source(error))??;
    if let Output::Cut(inputs) = written {
        return Ok(Merged::Cut(inputs));
    }
    let size = sent?;
    let Output::Whole(written) = written else {
        return Err(Error::internal("a store took half a file for a whole"));
    };
    let file = ReplicaFile {
        level,
        name,
        size,
        created_ms: written.created_ms,
    };
    if size != written.size || read_back(replica, &file).await? != written.checksum {
        replica.delete(level, name).await?;
        return Err(Error::corrupt(format!(
            "level {level} {name} of {replica} is not what was sent; it was deleted"
        )));
    }
    Ok(Merged::Done(file))
}

/// One input of a merge.
enum Input {
    Local(std::fs::File),
    Remote(Pieces),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            Self::Remote(pieces) => pieces.read(buffer),
        }
    }
}

/// The pieces of an object, as they come.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let len = self.rest.len().min(buffer.len());
        if let Some(part) = buffer.get_mut(..len) {
            self.rest.copy_to_slice(part);
        }
        Ok(len)
    }
}

async fn open_inputs(
    replica: &Replica,
    spool: &Arc<Spool>,
    merge: &Merge,
    readers: &mut JoinSet<()>,
) -> Result<Vec<Reader<Input>>> {
    let mut inputs = Vec::with_capacity(merge.inputs().len());
    for file in merge.inputs() {
        let local = match file.level {
            Level::L0 => open_local(spool, file).await,
            _ => None,
        };
        inputs.push(Reader::new(match local {
            Some(local) => Input::Local(local),
            None => Input::Remote(read_remote(replica, *file, readers)),
        }));
    }
    Ok(inputs)
}

/// The local copy, if it is there and whole as far as its size tells; its checksum is verified as
/// it is read.
async fn open_local(spool: &Arc<Spool>, file: &ReplicaFile) -> Option<std::fs::File> {
    let (spool, file) = (Arc::clone(spool), *file);
    let opened = blocking(move || {
        let local = spool.open_file(file.name)?;
        Ok((spool.size(file.name)? == file.size).then_some(local))
    });
    opened.await.ok().flatten()
}

/// Reads an object in a task of its own, taken up again where it breaks off.
fn read_remote(replica: &Replica, file: ReplicaFile, readers: &mut JoinSet<()>) -> Pieces {
    let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
    let replica = replica.clone();
    readers.spawn(async move {
        let wanted = Wanted::ltx(&replica, &file);
        let mut source = Source::new(replica.store().as_ref(), &wanted);
        loop {
            let piece = match source.next().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(io::Error::other(Error::from(error))),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Pieces {
        receiver,
        rest: Bytes::new(),
    }
}

fn body(output: mpsc::Receiver<io::Result<Bytes>>) -> Body {
    Box::pin(stream::unfold(output, |mut output| async {
        output.recv().await.map(|piece| (piece, output))
    }))
}

/// Merges the inputs and hands the encoded file out in pieces.
fn write(
    inputs: Vec<Reader<Input>>,
    encoding: PageEncoding,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    begun: oneshot::Sender<i64>,
) -> Result<Output> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::unavailable("cannot merge files").with_source(error)
    };
    let mut merge = match lockkeeper_ltx::Merge::new(inputs) {
        Err(MergeError::PageSize { input, .. }) => return Ok(Output::Cut(input)),
        merge => merge.map_err(|e| failed(e.into()))?,
    };
    let created_ms = merge.header().timestamp_ms;
    // Nobody waits if the upload was given up, which shows with the first piece.
    let _ = begun.send(created_ms);
    let mut size = 0_u64;
    let mut send = |out: &mut Vec<u8>| {
        size = size.saturating_add(out.len() as u64);
        pieces.blocking_send(Ok(Bytes::from(std::mem::take(out))))
    };
    let mut out = Vec::with_capacity(PIECE_BYTES);
    let mut encoder =
        Encoder::new(merge.header(), encoding, &mut out).map_err(|e| failed(e.into()))?;
    while let Some((pgno, page)) = merge.next_page().map_err(|e| failed(e.into()))? {
        encoder
            .page(pgno, page, &mut out)
            .map_err(|e| failed(e.into()))?;
        if out.len() >= PIECE_BYTES && send(&mut out).is_err() {
            return Ok(Output::Refused);
        }
    }
    let checksum = encoder.finish(&mut out).map_err(|e| failed(e.into()))?;
    if send(&mut out).is_err() {
        return Ok(Output::Refused);
    }
    Ok(Output::Whole(Written {
        created_ms,
        size,
        checksum,
    }))
}

/// The checksum of a file as the replica holds it, all of it verified.
async fn read_back(replica: &Replica, file: &ReplicaFile) -> Result<u64> {
    let mut readers = JoinSet::new();
    let mut reader = Reader::new(read_remote(replica, *file, &mut readers));
    blocking(move || {
        let unreadable = |error: lockkeeper_ltx::ReadError| {
            Error::unavailable("cannot read a merged file back").with_source(error)
        };
        while reader.next_page().map_err(unreadable)?.is_some() {}
        reader
            .checksum()
            .ok_or_else(|| Error::internal("a file that was read has no checksum"))
    })
    .await
}
