//! From what happens to databases to what people are told of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockkeeper_core::guard::alerts::{AlertDesk, Raised};
use lockkeeper_core::policy::Severity;
use tokio::sync::mpsc;

use super::conditions::{Events, Happened};
use super::database::blocking;
use super::status::Alert;
use crate::Result;
use crate::policy::Policy;

/// Events that wait for the policy; a fleet whose store is gone has one for each database.
const EVENTS_MAX: usize = 1024;

/// The alerts of one engine.
#[derive(Debug)]
pub(super) struct Alerts {
    sender: mpsc::Sender<Happened>,
    receiver: Mutex<Option<mpsc::Receiver<Happened>>>,
    desk: Arc<Mutex<AlertDesk>>,
}

impl Default for Alerts {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            desk: Arc::default(),
        }
    }
}

impl Alerts {
    /// Where one more database tells what happens to it.
    pub(super) fn events(&self) -> Events {
        Events::new(self.sender.clone())
    }

    /// Asks the policy about every event, in a task of its own. Must be called within the runtime.
    pub(super) fn start(&self, policy: Policy) {
        let receiver = lock(&self.receiver).take();
        if let Some(receiver) = receiver {
            tokio::spawn(run(receiver, policy, Arc::clone(&self.desk)));
        }
    }

    /// The last alerts, oldest first.
    pub(super) fn shown(&self) -> Vec<Alert> {
        let shown = lock(&self.desk).shown();
        shown.into_iter().map(Alert::from).collect()
    }
}

async fn run(mut events: mpsc::Receiver<Happened>, policy: Policy, desk: Arc<Mutex<AlertDesk>>) {
    while let Some(happened) = events.recv().await {
        if let Err(error) = tell(happened, &policy, &desk).await {
            tracing::error!(%error, "an event was not told");
        }
    }
}

async fn tell(happened: Happened, policy: &Policy, desk: &Arc<Mutex<AlertDesk>>) -> Result<()> {
    let event = lock(desk).note(happened.event);
    let policy = policy.for_database(&happened.path.to_string_lossy());
    let desk = Arc::clone(desk);
    let ask = move || Ok(policy.on_event(&event, |alerts| lock(&desk).admit(&event, alerts)));
    let raised = blocking(ask).await?;
    raised.iter().for_each(write);
    Ok(())
}

fn write(raised: &Raised) {
    let Raised {
        database,
        code,
        message,
        ..
    } = raised;
    match raised.severity {
        Severity::Error => tracing::error!(%database, %code, "alert: {message}"),
        Severity::Warning => tracing::warn!(%database, %code, "alert: {message}"),
        Severity::Note => tracing::info!(%database, %code, "alert: {message}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is remembered is whole after each step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
