//! Every daemon of an application: the order of starting, of reading again and of stopping.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::guarded::{catch, catch_within};
use super::{Daemon, DaemonError, StopOrder};
use crate::{Error, ErrorKind, Result};

/// How long everything may take to stop unless the application says otherwise.
const STOP_DEFAULT: Duration = Duration::from_secs(30);
/// Nobody waits longer; keeps the end within what a clock can count.
const STOP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The part of the time for stopping that those of [`StopOrder::First`] get at most.
const FIRST_SHARE: u32 = 3;
/// What a daemon may take longer than its deadline, to let go of what it uses and to say what was
/// not done. Then it is left behind.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// What those of [`StopOrder::Last`] have if the others took all the time.
const LAST_MIN: Duration = Duration::from_secs(1);

/// The daemons of an application, in the order in which they are started.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> lockkeeper::Result<()> {
/// use lockkeeper::{Daemons, Lockkeeper, Replication, Signals};
/// let builder = Lockkeeper::builder().config("dbs:\n  - path: a.db\n    replica: {path: b}\n");
/// let signals = Signals::listen()?;
/// Daemons::new().with(Replication::new(builder)).run(signals).await
/// # }
/// ```
#[must_use = "nothing is started before `run`"]
pub struct Daemons {
    members: Vec<Member>,
    stop_within: Box<dyn Fn() -> Duration + Send>,
}

struct Member {
    daemon: Box<dyn Daemon>,
    /// Whether there may be something to stop.
    was_begun: bool,
}

impl Default for Daemons {
    fn default() -> Self {
        Self::new()
    }
}

impl Daemons {
    /// None yet.
    pub fn new() -> Self {
        Self {
            members: Vec::new(),
            stop_within: Box::new(|| STOP_DEFAULT),
        }
    }

    /// Adds one, which is started after those that were added before.
    pub fn with(mut self, daemon: impl Daemon + 'static) -> Self {
        self.members.push(Member {
            daemon: Box::new(daemon),
            was_begun: false,
        });
        self
    }

    /// How long everything together may take to stop; 30 seconds unless this is called. It is asked
    /// when the stop begins.
    pub fn stop_within(mut self, timeout: impl Fn() -> Duration + Send + 'static) -> Self {
        self.stop_within = Box::new(timeout);
        self
    }

    /// Starts one after the other. If one fails, those before it are stopped.
    ///
    /// # Errors
    ///
    /// As the daemon that failed, by name. What then goes wrong while stopping is logged.
    ///
    /// # Cancel safety
    ///
    /// Call [`Daemons::stop`] after the future was dropped.
    pub async fn start(&mut self) -> Result<()> {
        let Err(error) = self.start_all().await else {
            return Ok(());
        };
        if let Err(also) = self.stop().await {
            tracing::error!(error = %also, "after a failed start");
        }
        Err(error)
    }

    async fn start_all(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.was_begun = true;
            let started = catch(member.daemon.start()).await;
            if let Err(error) = started {
                member.was_begun = false;
                return Err(failed("cannot start", member.daemon.name(), error));
            }
            tracing::debug!(daemon = member.daemon.name(), "started");
        }
        Ok(())
    }

    /// Lets one after the other read its configuration again.
    ///
    /// # Errors
    ///
    /// As those that failed, by name; they go on with the configuration they have, and the others
    /// with the new one.
    ///
    /// # Example
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
    /// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
    /// use lockkeeper::{Daemons, Lockkeeper, Replication};
    ///
    /// let builder = Lockkeeper::builder()
    ///     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
    ///     .base_dir(folder.path());
    /// let replication = Replication::new(builder);
    /// let handle = replication.handle(); // for other parts of the application
    /// let mut daemons = Daemons::new()
    ///     .with(replication)
    ///     .stop_within(|| std::time::Duration::from_secs(15));
    /// assert!(handle.get().is_none());
    /// daemons.start().await?;
    /// handle.get().expect("it runs").sync().await?;
    /// daemons.reload().await?;
    /// daemons.stop().await?;
    /// assert!(handle.get().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reload(&mut self) -> Result<()> {
        let mut failures = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.was_begun) {
            if let Err(error) = catch(member.daemon.reload()).await {
                failures.push(failed("cannot reload", member.daemon.name(), error));
            }
        }
        all_or_first(failures)
    }

    /// Waits until one of them ends by itself.
    ///
    /// # Cancel safety
    ///
    /// Nothing is missed.
    pub(super) async fn ended(&mut self) -> Error {
        let running = self.members.iter_mut().filter(|member| member.was_begun);
        let mut running: FuturesUnordered<_> = running
            .map(|member| async {
                let error = member.daemon.ended().await;
                failed("ended by itself:", member.daemon.name(), error)
            })
            .collect();
        match running.next().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops what was started. Returns at once if nothing was.
    ///
    /// # Errors
    ///
    /// As those that failed, by name. Every daemon was asked to stop all the same.
    pub async fn stop(&mut self) -> Result<()> {
        let time = (self.stop_within)().min(STOP_MAX);
        let end = Instant::now() + time;
        let mut failures = Vec::new();
        for order in [StopOrder::First, StopOrder::Together, StopOrder::Last] {
            let left = end.saturating_duration_since(Instant::now());
            let deadline = match order {
                StopOrder::First => left.min(time / FIRST_SHARE),
                StopOrder::Together => left,
                StopOrder::Last => left.max(LAST_MIN),
            };
            failures.extend(self.stop_those(order, deadline).await);
        }
        all_or_first(failures)
    }

    async fn stop_those(&mut self, order: StopOrder, deadline: Duration) -> Vec<Error> {
        let members = self.members.iter_mut();
        let stopping = members
            .filter(|member| member.was_begun && member.daemon.stop_order() == order)
            .map(|member| async move {
                let stopped = member.daemon.stop(deadline);
                let stopped = catch_within(deadline.saturating_add(STOP_GRACE), stopped).await;
                member.was_begun = false;
                stopped.map_err(|error| failed("cannot stop", member.daemon.name(), error))
            });
        let stopped = join_all(stopping).await;
        stopped.into_iter().filter_map(Result::err).collect()
    }
}

/// A daemon that failed, and at what.
fn failed(what: &str, name: &str, error: DaemonError) -> Error {
    let kind = error
        .downcast_ref::<Error>()
        .map_or(ErrorKind::Unavailable, Error::kind);
    Error::new(kind, format!("{what} {name}")).with_source(error)
}

/// The first failure, with what the others say.
fn all_or_first(failures: Vec<Error>) -> Result<()> {
    let Some(kind) = failures.first().map(Error::kind) else {
        return Ok(());
    };
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Error::new(kind, texts.join("; ")))
}

impl fmt::Debug for Daemons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|member| member.daemon.name());
        f.debug_list().entries(names).finish()
    }
}
