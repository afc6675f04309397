//! The way from an event to the queue of the writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::record::Record;

/// The end of the queue that events go into. Whoever logs never waits.
#[derive(Debug)]
pub(super) struct Queue {
    /// `None` once the log was closed.
    sender: RwLock<Option<SyncSender<Record>>>,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new(sender: SyncSender<Record>) -> Self {
        Self {
            sender: RwLock::new(Some(sender)),
            dropped: AtomicU64::new(0),
        }
    }

    fn push(&self, record: Record) {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.as_ref().map(|sender| sender.try_send(record));
        if !matches!(sent, Some(Ok(()))) {
            self.drop_records(1);
        }
    }

    /// Takes no more; the writer ends when it has written what is there.
    pub(super) fn close(&self) {
        let mut sender = self.sender.write().unwrap_or_else(PoisonError::into_inner);
        sender.take();
    }

    pub(super) fn is_closed(&self) -> bool {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        sender.is_none()
    }

    pub(super) fn drop_records(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that were not written, ever.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Sends events into the queue.
pub(super) struct QueueLayer(pub(super) Arc<Queue>);

impl<S: Subscriber> Layer<S> for QueueLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(Record::from(event));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::mpsc::{channel, sync_channel};
    use std::time::Duration;

    use tracing::Level;

    use super::*;

    #[test]
    fn who_logs_never_waits_for_room_in_the_queue() {
        let (sender, unread) = sync_channel(1);
        let queue = Arc::new(Queue::new(sender));
        let (done, ended) = channel();
        let pushing = Arc::clone(&queue);
        std::thread::spawn(move || {
            for text in ["kept", "dropped", "dropped"] {
                pushing.push(Record::new(
                    Level::INFO,
                    text.into(),
                    &serde_json::Map::new(),
                ));
            }
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(queue.dropped(), 2);
        queue.close();
        let kept: Vec<Record> = unread.iter().collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].message, "kept");
    }
}
