//! The web server: starts when the replication runs, and stops before it does.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use lockkeeper::config::Identities;
use lockkeeper::{Daemon, DaemonError, DaemonResult, StopOrder};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::args::Options;
use crate::guestbook::GuestBook;
use crate::listen::listen;
use crate::observe::Live;
use crate::replication::Replication;
use crate::server;
use crate::settings::Settings;

/// How long requests at an address that is given up may take to end.
const MOVE_MAX: Duration = Duration::from_secs(10);

/// The web server, and what it is started with.
pub(crate) struct Web {
    dbpath: PathBuf,
    identities: Identities,
    /// The address that the command line gives, which the configuration does not change.
    fixed: Option<String>,
    settings: watch::Sender<Settings>,
    /// `None` once it is served at.
    listener: Option<TcpListener>,
    guest_book: GuestBook,
    replication: Replication,
    live: Live,
    serving: Option<Serving>,
}

impl Web {
    pub(crate) fn new(
        options: &Options,
        identities: Identities,
        settings: Settings,
        listener: TcpListener,
        guest_book: GuestBook,
        replication: Replication,
        live: Live,
    ) -> Self {
        Self {
            dbpath: options.dbpath.clone(),
            identities,
            fixed: options.addr.clone(),
            settings: watch::Sender::new(settings),
            listener: Some(listener),
            guest_book,
            replication,
            live,
            serving: None,
        }
    }

    /// How long ending may take, as the configuration has it at that time.
    pub(crate) fn shutdown_timeout(&self) -> impl Fn() -> Duration + Send + 'static {
        let settings = self.settings.subscribe();
        move || settings.borrow().shutdown_timeout
    }

    fn serve(&mut self, listener: TcpListener) -> std::io::Result<Option<Serving>> {
        let guest_book = self.guest_book.clone();
        let (replication, live) = (self.replication.clone(), self.live.clone());
        let serving = Serving::begin(listener, |closing| {
            server::router(guest_book, replication, live, closing)
        })?;
        Ok(self.serving.replace(serving))
    }
}

#[async_trait]
impl Daemon for Web {
    fn name(&self) -> &'static str {
        "the web server"
    }

    fn stop_order(&self) -> StopOrder {
        StopOrder::First
    }

    async fn start(&mut self) -> DaemonResult {
        let listener = self.listener.take().ok_or("it was started before")?;
        self.serve(listener)?;
        Ok(())
    }

    async fn reload(&mut self) -> DaemonResult {
        let settings = Settings::load(&self.dbpath, &self.identities)?;
        if self.fixed.is_none() && settings.addr != self.settings.borrow().addr {
            // Before anything is given up: the new address may be taken.
            let listener = listen(&settings.addr).await?;
            if let Some(before) = self.serve(listener)? {
                tokio::spawn(before.end(MOVE_MAX));
            }
        }
        self.settings.send_replace(settings);
        Ok(())
    }

    async fn ended(&mut self) -> DaemonError {
        match &mut self.serving {
            Some(serving) => match (&mut serving.task).await {
                Ok(Ok(())) => "nobody told it to".into(),
                Ok(Err(error)) => error.into(),
                Err(died) => died.into(),
            },
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self, deadline: Duration) -> DaemonResult {
        if let Some(serving) = self.serving.take() {
            serving.end(deadline).await;
        }
        Ok(())
    }
}

/// Requests at one address.
struct Serving {
    task: JoinHandle<std::io::Result<()>>,
    /// True from then on that it has to end.
    closing: watch::Sender<bool>,
}

impl Serving {
    /// Begins to accept, and says where.
    fn begin(
        listener: TcpListener,
        router: impl FnOnce(watch::Receiver<bool>) -> Router,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (closing, mut is_closing) = watch::channel(false);
        let router = router(is_closing.clone());
        let serve = axum::serve(listener, router).with_graceful_shutdown(async move {
            // A sender that was dropped asks for the same.
            let _ = is_closing.wait_for(|closing| *closing).await;
        });
        let task = tokio::spawn(async { serve.await });
        tracing::info!("listening on http://{address}");
        Ok(Self { task, closing })
    }

    /// Accepts nobody more, and lets those finish who have begun.
    async fn end(mut self, deadline: Duration) {
        self.closing.send_replace(true);
        match timeout(deadline, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(ended) => tracing::error!(?ended, "the web server died"),
            Err(_) => {
                self.task.abort();
                tracing::warn!("requests that did not end are left behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_get_the_time_they_take_and_no_more_than_there_is() {
        for (takes, expected) in [(3, 3), (60, 5)] {
            let closing = watch::Sender::new(false);
            let task = tokio::spawn(async move {
                sleep(Duration::from_secs(takes)).await;
                Ok(())
            });
            let began = Instant::now();
            Serving { task, closing }.end(Duration::from_secs(5)).await;
            assert_eq!(began.elapsed().as_secs(), expected);
        }
    }
}
