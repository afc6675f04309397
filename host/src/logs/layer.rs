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
