//! Tells systemd how far the service is.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager that started this process, if it wants to know.
#[derive(Debug)]
pub(super) struct ServiceManager {
    /// How soon after the last sign of life it takes the process for dead.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    pub(super) fn of_process() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().filter(|it| !it.is_zero()),
        }
    }

    /// Everything runs.
    pub(super) fn ready(&self) {
        self.tell(&[NotifyState::Ready, NotifyState::Status("running")]);
    }

    /// The configuration is read again, until it is ready once more.
    pub(super) fn reloading(&self) {
        let status = NotifyState::Status("reading the configuration again");
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now, status]),
            // Without the time a `Type=notify-reload` would wait for it.
            Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
        }
    }

    /// What is committed is sent.
    pub(super) fn stopping(&self) {
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::Status("sending what is committed"),
        ]);
    }

    /// Does the work, and gives signs of life meanwhile.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(watchdog) = self.watchdog else {
            return work.await;
        };
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(watchdog / 2) => self.tell(&[NotifyState::Watchdog]),
            }
        }
    }

    /// The service goes on whether it is heard or not.
    fn tell(&self, what: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(what) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}
