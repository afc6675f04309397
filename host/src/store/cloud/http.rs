//! Requests to stores: one pool of connections for all databases, with a bound on every wait and
//! on what an answer makes us hold.

use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::response::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

use super::carried::Carried;
use super::gate::{self, Gates};
use super::region::{self, Regions};
use super::requests::{Class, Counters};
use crate::https::{self, Causes, Connections};

/// From the first byte of a request to the head of its answer; in between, a part of an upload is
/// sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two pieces of an answer.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at a time, of all databases: each takes a connection, and there may be ten thousand
/// databases that want to begin at once.
const REQUESTS_MAX: usize = 64;
/// The longest answer that is not an object: a page of a listing has a thousand names.
const ANSWER_LEN_MAX: u64 = 16 << 20;
/// The longest description of an error.
const ERROR_LEN_MAX: u64 = 64 << 10;

/// The connections of a configuration, made when the first store wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connectivity(Arc<Mutex<Pools>>);

/// Over which connections a store is reached makes no difference to where it is.
impl PartialEq for Connectivity {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Connectivity {}

#[derive(Debug, Default)]
struct Pools {
    verified: Option<Pool>,
    unverified: Option<Pool>,
    regions: Arc<Regions>,
}

impl Connectivity {
    pub(super) fn pool(&self, skip_verify: bool) -> crate::Result<Pool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = if skip_verify {
            &mut pools.unverified
        } else {
            &mut pools.verified
        };
        if let Some(pool) = slot {
            return Ok(pool.clone());
        }
        Ok(slot.insert(Pool::new(skip_verify)?).clone())
    }

    pub(super) fn regions(&self) -> Arc<Regions> {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&pools.regions)
    }
}

/// Connections to servers.
#[derive(Clone)]
pub(super) struct Pool {
    connections: Connections<HttpRequestBody>,
    /// Held until the head of an answer is there, and no longer: who reads one object while it
    /// writes another must not wait for itself.
    turns: Arc<Semaphore>,
    gates: Arc<Gates>,
}

impl Pool {
    fn new(skip_verify: bool) -> crate::Result<Self> {
        Ok(Self {
            connections: https::connections(skip_verify)?,
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            gates: Arc::default(),
        })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// The way to one store, which counts what goes over it.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) pool: Pool,
    pub(super) counters: Arc<Counters>,
    /// Goes with every request.
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl HttpConnector for Wire {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let class = Class::of(request.method(), request.uri().query().unwrap_or_default());
        let host = request.uri().authority().map(ToString::to_string);
        let host = host.unwrap_or_default();
        if let Some((name, value)) = &self.header {
            request.headers_mut().insert(name, value.clone());
        }
        let carried = Carried::of(&request);
        self.pool.gates.pass(&host).await;
        let turn = self.pool.turns.acquire().await;
        let turn = turn.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        self.counters.add(class);
        let answer = self.pool.connections.request(request);
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(late) => return Err(HttpError::new(HttpErrorKind::Timeout, late)),
        };
        drop(turn);
        let (parts, body) = answer.into_parts();
        let is_pause = matches!(
            parts.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if let Some(pause) = gate::pause(&parts.headers).filter(|_| is_pause) {
            tracing::info!(%host, ?pause, "the store asks for a pause");
            self.pool.gates.close(&host, pause);
        }
        if !parts.status.is_success() {
            let refusal = Bounded::new(body, ERROR_LEN_MAX).collect().await?;
            let refusal = carried.remove_from(refusal.to_bytes());
            let (parts, refusal) = with_region(parts, refusal);
            return Ok(HttpResponse::from_parts(parts, refusal.into()));
        }
        let len_max = match class {
            Class::Get => u64::MAX,
            _ => ANSWER_LEN_MAX,
        };
        let body = HttpResponseBody::new(Bounded::new(body, len_max));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// A refusal that says in which region a bucket is, in the words that Amazon has for it elsewhere.
/// The client reads nothing of a redirection that does not lead anywhere, so it is another status.
fn with_region(mut parts: Parts, refusal: Bytes) -> (Parts, Bytes) {
    let region = parts.headers.get(region::HEADER);
    let Some(region) = region.and_then(|region| region.to_str().ok()) else {
        return (parts, refusal);
    };
    if !parts.status.is_redirection() || parts.headers.contains_key(LOCATION) {
        return (parts, refusal);
    }
    let text = format!("<Code>PermanentRedirect</Code><Region>{region}</Region>");
    parts.status = StatusCode::BAD_REQUEST;
    (parts, text.into())
}

fn failed(error: legacy::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, Causes::of(&error))
}

/// The body of an answer, which breaks off when it is too slow or too long.
struct Bounded {
    inner: Incoming,
    /// How many bytes may still come.
    left: u64,
    late: Pin<Box<Sleep>>,
    /// Whether `late` is set: it counts only while somebody waits for the server.
    is_waiting: bool,
}

impl Bounded {
    fn new(inner: Incoming, len_max: u64) -> Self {
        Self {
            inner,
            left: len_max,
            late: Box::pin(tokio::time::sleep(PIECE_TIMEOUT)),
            is_waiting: false,
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            if !this.is_waiting {
                this.late.as_mut().reset(Instant::now() + PIECE_TIMEOUT);
                this.is_waiting = true;
            }
            return this.late.as_mut().poll(context).map(|()| {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the answer stopped");
                Some(Err(HttpError::new(HttpErrorKind::Timeout, late)))
            });
        };
        this.is_waiting = false;
        let frame = frame.map(|frame| frame.map_err(broken_off));
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(left) = this.left.checked_sub(len) else {
                let long = io::Error::new(io::ErrorKind::InvalidData, "the answer is too long");
                return Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Decode, long))));
            };
            this.left = left;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What a server promises must not decide how much is set aside for it.
        SizeHint::default()
    }
}

fn broken_off(error: hyper::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, Causes::of(&error))
}
