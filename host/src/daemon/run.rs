//! From the start to the end, as signals ask for it.

use super::service_manager::ServiceManager;
use super::{Asked, Daemons, Signals};
use crate::{Error, Result};

impl Daemons {
    /// Starts all, and runs until a signal asks to end or one of them ends by itself; then stops
    /// all. SIGHUP lets each read its configuration again. A second signal to end is obeyed at
    /// once, without waiting for anything.
    ///
    /// systemd is told of each step if it started the process as a service of `Type=notify`.
    ///
    /// # Errors
    ///
    /// If one cannot start, ended by itself, or could not stop in order; if a signal came before
    /// all had started, or a second one while they stopped. Exit with a code other than 0 then:
    /// something may not be durable.
    pub async fn run(mut self, mut signals: Signals) -> Result<()> {
        let manager = ServiceManager::of_process();
        manager
            .watch(async {
                let started = tokio::select! {
                    started = self.start() => started,
                    name = signals.end() => {
                        manager.stopping();
                        self.end(&mut signals).await?;
                        Err(interrupted(format!("{name} came before everything had started")))
                    }
                };
                started?;
                manager.ready();
                tracing::info!("everything has started");
                let why = self.until_asked(&mut signals, &manager).await;
                manager.stopping();
                let stopped = self.end(&mut signals).await;
                // Both are told: what ended it, and what is not durable.
                match (why, stopped) {
                    (Err(why), Err(stopped)) => {
                        Err(Error::new(why.kind(), format!("{why}; {stopped}")))
                    }
                    (why, stopped) => why.and(stopped),
                }
            })
            .await
    }

    /// Runs until there is a reason to end. It is an error unless a signal asked for it.
    async fn until_asked(&mut self, signals: &mut Signals, manager: &ServiceManager) -> Result<()> {
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                error = self.ended() => {
                    tracing::error!(%error, "stopping");
                    return Err(error);
                }
            };
            match asked {
                Asked::End(signal) => {
                    tracing::info!(signal, "stopping");
                    return Ok(());
                }
                Asked::Reload => {
                    tracing::info!(signal = "SIGHUP", "reading the configuration again");
                    manager.reloading();
                    tokio::select! {
                        reloaded = self.reload() => report(reloaded),
                        signal = signals.end() => {
                            tracing::info!(signal, "stopping, while the configuration was read");
                            return Ok(());
                        }
                    }
                    manager.ready();
                }
            }
        }
    }

    async fn end(&mut self, signals: &mut Signals) -> Result<()> {
        tokio::select! {
            stopped = self.stop() => stopped,
            name = signals.end() => Err(interrupted(format!(
                "ended at once by a second signal ({name}); what was not sent yet is sent after \
                 the next start"
            ))),
        }
    }
}

fn report(reloaded: Result<()>) {
    match reloaded {
        Ok(()) => tracing::info!("the configuration was read again"),
        Err(error) => tracing::error!(%error, "the configuration before goes on"),
    }
}

fn interrupted(message: String) -> Error {
    Error::unavailable(message)
}
