//! The order of starting and stopping, which is what keeps every message.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockkeeper::Lockkeeper;
use lockkeeper::config::{KeyFile, KeyFileCheck};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::args::Options;
use crate::guestbook::GuestBook;
use crate::listen::listen;
use crate::logging;
use crate::replication::Replication;
use crate::server;
use crate::settings::Settings;
use crate::signals::Signals;

/// The part of the time for stopping that open requests get at most. The rest is for the replica.
const REQUESTS_SHARE: u32 = 3;

/// Runs until a signal, then until everything that was committed is durable.
///
/// # Errors
///
/// If the application cannot start, or something was not durable in time.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let identities = KeyFile::read(&options.age_key, KeyFileCheck::Strict)?;
    // Ends last, so that it has the last words of everything else.
    let _log = logging::start(&options.dbpath, &identities)?;
    // First, and open to the end: SQLite tidies its log away when the last connection closes.
    let guest_book = GuestBook::open(&options.dbpath)?;
    let settings = Settings::load(&options.dbpath, &identities)?;
    let address = options.addr.as_deref().unwrap_or(&settings.addr);
    let listener = listen(address).await?;

    let configuration = Lockkeeper::builder()
        .config_store(&options.dbpath, identities)
        .read()?;
    if let Err(error) = configuration.replica_of(&options.dbpath) {
        tracing::warn!("what this application writes is not replicated: {error}");
    }
    let starting = Lockkeeper::builder().configuration(configuration).start();
    let keeper = tokio::select! {
        keeper = starting => keeper?,
        signal = signals.next() => bail!("{signal} came before replication had started"),
    };
    let replication = Replication::new(keeper);
    let mut web = Web::serve(listener, guest_book.clone(), replication.clone())?;
    tokio::select! {
        signal = signals.next() => tracing::info!("{signal}: stopping; send it again to end now"),
        ended = &mut web.task => bail!("the web server ended by itself: {ended:?}"),
    }
    tokio::select! {
        stopped = stop(web, &replication, settings.shutdown_timeout) => stopped,
        signal = signals.next() => bail!("{signal} came again: ended without waiting for the replica"),
    }
    // The connection in `guest_book` closes here, after the replication.
}

/// Accepts nobody more, finishes what was begun, then flushes the replication.
async fn stop(web: Web, replication: &Replication, at_most: Duration) -> Result<()> {
    let began = Instant::now();
    let finished = timeout_at(began + at_most / REQUESTS_SHARE, web.finish());
    if finished.await.is_err() {
        tracing::warn!("requests that did not end are left behind");
    }
    replication.stop(began + at_most).await?;
    tracing::info!("stopped: everything that was committed is in the replica");
    Ok(())
}

/// The web server at work.
struct Web {
    task: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Web {
    /// Begins to accept, and says where.
    fn serve(
        listener: TcpListener,
        guest_book: GuestBook,
        replication: Replication,
    ) -> Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serve = axum::serve(listener, server::router(guest_book, replication))
            .with_graceful_shutdown(async {
                // A sender that was dropped asks for the same.
                let _ = stopped.await;
            });
        let task = tokio::spawn(async { serve.await });
        tracing::info!("listening on http://{address}");
        Ok(Self { task, stop })
    }

    async fn finish(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the web server died");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// Stops while a request takes `seconds` more; returns how many seconds that took.
    async fn stops_after(seconds: u64) -> u64 {
        let (stop_requests, _stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        });
        let web = Web {
            task,
            stop: stop_requests,
        };
        let began = Instant::now();
        let stopped = stop(web, &Replication::stopped(), Duration::from_secs(15)).await;
        stopped.unwrap();
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_get_the_time_they_take_up_to_their_share() {
        assert_eq!(stops_after(3).await, 3);
        assert_eq!(stops_after(60).await, 5);
    }
}
