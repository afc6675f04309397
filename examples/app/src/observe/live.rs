//! Measures every second, and tells the pages that are looked at what is new.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use axum::response::sse::Event;
use futures::Stream;
use futures::stream::unfold;
use lockkeeper::{Daemon, DaemonResult};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Moment;
use super::document::Document;
use super::lag::{EVERY, History, Measured};
use super::view::Pieces;
use crate::replication::Replication;

/// Pages that are kept up to date at a time. Each holds a connection and one copy of its pieces.
pub(crate) const LISTENERS_MAX: usize = 64;

/// What is measured, for all who look. Clones share it.
#[derive(Clone)]
pub(crate) struct Live {
    replication: Replication,
    history: History,
    /// The newest pieces: who is slow misses those between, and never holds up the others.
    newest: watch::Sender<Arc<Pieces>>,
    places: Arc<Semaphore>,
}

impl Live {
    /// Of this replication.
    pub(crate) fn new(replication: Replication) -> Self {
        Self {
            replication,
            history: History::new(),
            newest: watch::Sender::default(),
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
        }
    }

    fn moment(&self) -> Moment {
        Moment::of(self.replication.status(), &self.history)
    }

    /// The page as it is now.
    ///
    /// # Errors
    ///
    /// If a template fails, which is a bug.
    pub(crate) fn pieces(&self) -> Result<Pieces> {
        Pieces::new(&self.moment())
    }

    /// The same for programs.
    pub(crate) fn document(&self) -> Document {
        Document::from(&self.moment())
    }

    /// Measures once, and tells those who listen.
    fn tick(&self) -> Result<()> {
        let status = self.replication.status();
        let databases = status.iter().flat_map(|status| &status.databases);
        let measured = databases.map(|database| Measured {
            path: &database.path,
            lag: database.lag(),
            behind: database.behind(),
        });
        self.history.note(self.history.now(), measured);
        if self.newest.receiver_count() > 0 {
            let pieces = Pieces::new(&Moment::of(status, &self.history))?;
            self.newest.send_replace(Arc::new(pieces));
        }
        Ok(())
    }

    /// What is new, from everything on, until `closing` is true or nobody reads any more; `None` if
    /// [`LISTENERS_MAX`] listen already.
    ///
    /// # Errors
    ///
    /// If a template fails, which is a bug.
    pub(crate) fn listen(
        &self,
        closing: watch::Receiver<bool>,
    ) -> Result<Option<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Ok(None);
        };
        // In this order: what comes while the first are made is not missed.
        let newest = self.newest.subscribe();
        let listener = Listener {
            first: Some(Arc::new(self.pieces()?)),
            newest,
            sent: Arc::default(),
            closing,
            _place: place,
        };
        Ok(Some(unfold(listener, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        })))
    }
}

/// One page that is looked at.
struct Listener {
    first: Option<Arc<Pieces>>,
    newest: watch::Receiver<Arc<Pieces>>,
    /// What the page shows.
    sent: Arc<Pieces>,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Waits for something new; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let pieces = match self.first.take() {
                Some(first) => first,
                None => self.newer().await?,
            };
            let differ = pieces.that_differ_from(&self.sent);
            let has_changed_shape = pieces.shape != self.sent.shape;
            if differ.is_empty() && !has_changed_shape {
                continue;
            }
            let event = json!({
                "shape": pieces.shape,
                "whole": has_changed_shape.then_some(&pieces.whole),
                "pieces": differ,
            });
            self.sent = pieces;
            // JSON has no line ends, which is all that an event minds.
            return Some(Event::default().data(event.to_string()));
        }
    }

    async fn newer(&mut self) -> Option<Arc<Pieces>> {
        tokio::select! {
            // Whoever closes does not wait.
            biased;
            _ = self.closing.wait_for(|closing| *closing) => None,
            changed = self.newest.changed() => {
                changed.ok()?;
                Some(Arc::clone(&self.newest.borrow_and_update()))
            }
        }
    }
}

/// Measures for as long as the application runs. Should it die of a bug, the application goes on:
/// a page that stands still costs no message.
pub(crate) struct Observer {
    live: Live,
    task: Option<JoinHandle<()>>,
}

impl Observer {
    /// Measures for `live`.
    pub(crate) fn new(live: Live) -> Self {
        Self { live, task: None }
    }
}

#[async_trait]
impl Daemon for Observer {
    fn name(&self) -> &'static str {
        "the observer of the replication"
    }

    async fn start(&mut self) -> DaemonResult {
        let live = self.live.clone();
        self.task = Some(tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                if let Err(error) = live.tick() {
                    tracing::error!(error = format!("{error:#}"), "the page is not up to date");
                }
            }
        }));
        Ok(())
    }

    async fn stop(&mut self, _deadline: Duration) -> DaemonResult {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        Ok(())
    }
}
