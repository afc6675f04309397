//! Accepts connections at the control socket; each carries one request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::routes::{Answer, Desk};
use super::socket::Listener;
use super::{ControlSettings, SYNC_SECONDS_MAX};
use crate::engine::{ControlState, Fleet};

/// Requests at work; more of them wait to be accepted.
const CONNECTIONS_MAX: usize = 32;
/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a connection may take as a whole: the longest sync, and time to send its answer.
const CONNECTION_MAX: Duration = Duration::from_secs(SYNC_SECONDS_MAX + 60);
/// How long to wait when a connection cannot be accepted, as without a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Makes the socket, says so, and answers until it is dropped. Without a socket, the state of the
/// fleet says why.
pub(crate) async fn run(settings: ControlSettings, fleet: Arc<Fleet>, made: oneshot::Sender<()>) {
    let listener = match Listener::open(&settings).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "there is no control socket; replication goes on");
            fleet.set_control(ControlState::Failing(error.to_string()));
            return;
        }
    };
    tracing::info!(socket = %listener.path().display(), "listening for control commands");
    fleet.set_control(ControlState::Listening(listener.path().to_owned()));
    // Whoever started replication may have gone away.
    let _ = made.send(());
    serve(&listener, fleet).await;
}

async fn serve(listener: &Listener, fleet: Arc<Fleet>) {
    let desk = Arc::new(Desk::new(fleet));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok(stream) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    if timeout(CONNECTION_MAX, answer(stream, desk)).await.is_err() {
                        tracing::debug!("a control connection took too long");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: Arc<Desk>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<Response<Answer>, Infallible>(desk.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a control connection ended early");
    }
}
