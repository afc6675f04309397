//! Drives the replication of every database of one configuration.

mod database;
mod status;
mod upload;
mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use self::database::{Command, Database};
use self::status::DatabaseShared;
pub use self::status::{DatabaseState, DatabaseStatus, Status};
use crate::{Error, Result};

/// Commands that wait for a database task.
const COMMANDS_MAX: usize = 16;
/// Threads for work that blocks, shared by all databases.
const BLOCKING_THREADS: usize = 4;

/// Replication that runs on a thread of its own, beside the application.
///
/// Keep it for as long as the application writes, and end it with [`Lockkeeper::stop`] while the
/// application's own connections are still open. Dropping it ends replication without a flush:
/// what was committed is then sent after the next start.
#[derive(Debug)]
pub struct Lockkeeper {
    databases: Vec<Handle>,
    /// Ends when every database task has ended.
    thread: Option<std::thread::JoinHandle<()>>,
    ended: Option<oneshot::Receiver<()>>,
}

#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    shared: Arc<DatabaseShared>,
}

impl Lockkeeper {
    /// Starts replication of these databases.
    pub(crate) fn spawn(databases: Vec<Database>) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("lockkeeper-io")
            .build()
            .map_err(|error| Error::unavailable("cannot start a runtime").with_source(error))?;
        let (mut handles, mut tasks) = (Vec::new(), Vec::new());
        for database in databases {
            let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
            handles.push(Handle {
                commands,
                shared: Arc::clone(&database.shared),
            });
            tasks.push((database, receiver));
        }
        let (ending, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("lockkeeper".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let tasks: Vec<_> = tasks
                        .into_iter()
                        .map(|(database, commands)| tokio::spawn(database.run(commands)))
                        .collect();
                    for task in tasks {
                        if let Err(error) = task.await {
                            tracing::error!(%error, "a database task died");
                        }
                    }
                });
                // A handle that was dropped does not listen.
                let _ = ending.send(());
            })
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
        Ok(Self {
            databases: handles,
            thread: Some(thread),
            ended: Some(ended),
        })
    }

    /// Returns when everything that is committed now is durable.
    ///
    /// # Errors
    ///
    /// `Unavailable` if a database cannot be captured. A replica that does not answer is waited
    /// for: bound the wait with a timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn sync(&self) -> Result<()> {
        let mut targets = Vec::new();
        for handle in &self.databases {
            let (reply, answer) = oneshot::channel();
            let stopped = || Error::unavailable("replication has stopped");
            handle
                .commands
                .send(Command::Sync(reply))
                .await
                .map_err(|_| stopped())?;
            targets.push((handle, answer));
        }
        for (handle, answer) in targets {
            let spooled = answer
                .await
                .map_err(|_| Error::unavailable("replication has stopped"))??;
            let mut durable = handle.shared.subscribe_durable();
            durable
                .wait_for(|durable| *durable >= spooled)
                .await
                .map_err(|_| Error::unavailable("replication has stopped"))?;
        }
        Ok(())
    }

    /// How far each database is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            databases: self
                .databases
                .iter()
                .map(|handle| handle.shared.status())
                .collect(),
        }
    }

    /// Seals and sends everything that is committed, then ends.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that took longer than `deadline`; the message names what is not durable.
    /// It is on the local disk, and is sent after the next start.
    pub async fn stop(mut self, deadline: Duration) -> Result<()> {
        for handle in &self.databases {
            // A task that has ended needs no command.
            let _ = handle.commands.send(Command::Stop).await;
        }
        if let Some(ended) = self.ended.take()
            && tokio::time::timeout(deadline, ended).await.is_err()
        {
            return Err(self.not_durable(deadline));
        }
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| Error::internal("the replication thread panicked"))?;
        }
        let failed: Vec<_> = self
            .databases
            .iter()
            .filter(|h| !h.shared.is_settled())
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(self.not_durable(deadline))
        }
    }

    fn not_durable(&self, deadline: Duration) -> Error {
        let behind: Vec<String> = self
            .databases
            .iter()
            .filter(|handle| !handle.shared.is_settled())
            .map(|handle| handle.shared.backlog())
            .collect();
        Error::unavailable(format!(
            "stopped after {}, not durable: {}",
            humantime::format_duration(deadline),
            behind.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests;
