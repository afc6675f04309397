use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Pieces that may wait for the builder before the network is held back.
const PIECES_MAX: usize = 4;

/// A way for the bytes of files, one after the other, from where they are awaited to the thread
/// that blocks for them.
pub(super) fn channel() -> (FeedSender, Feed) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let feed = Feed {
        receiver,
        piece: Bytes::new(),
        is_ended: false,
    };
    (FeedSender(sender), feed)
}

enum Message {
    Bytes(Bytes),
    EndOfFile,
}

/// The reader is gone, and says why elsewhere.
pub(super) struct Closed;

/// The end that sends.
pub(super) struct FeedSender(mpsc::Sender<Message>);

impl FeedSender {
    pub(super) async fn bytes(&self, piece: Bytes) -> Result<(), Closed> {
        self.send(Message::Bytes(piece)).await
    }

    pub(super) async fn end_of_file(&self) -> Result<(), Closed> {
        self.send(Message::EndOfFile).await
    }

    async fn send(&self, message: Message) -> Result<(), Closed> {
        self.0.send(message).await.map_err(|_| Closed)
    }
}

/// The end that reads: the bytes of one file, then those of the next.
pub(super) struct Feed {
    receiver: mpsc::Receiver<Message>,
    piece: Bytes,
    is_ended: bool,
}

impl Feed {
    /// Goes on to the next file.
    ///
    /// # Errors
    ///
    /// If the sender was dropped before the end of this one.
    pub(super) fn next_file(&mut self) -> io::Result<()> {
        while !self.fill()?.is_empty() {
            self.piece.clear();
        }
        self.is_ended = false;
        Ok(())
    }

    /// Bytes that are not read yet; none at the end of the file.
    fn fill(&mut self) -> io::Result<&mut Bytes> {
        while self.piece.is_empty() && !self.is_ended {
            match self.receiver.blocking_recv() {
                Some(Message::Bytes(piece)) => self.piece = piece,
                Some(Message::EndOfFile) => self.is_ended = true,
                None => return Err(io::Error::other("the restore was given up")),
            }
        }
        Ok(&mut self.piece)
    }
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill()?;
        let len = piece.len().min(buf.len());
        piece.copy_to_slice(buf.get_mut(..len).unwrap_or_default());
        Ok(len)
    }
}
