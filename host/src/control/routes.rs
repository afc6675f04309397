//! From a request to its answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use lockkeeper_ltx::Txid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::wire::{
    Failure, Info, List, Report, SyncAnswer, SyncRequest, TxidAnswer, VerifyAnswer, VerifyRequest,
    hex, shown, time,
};
use super::{SYNC_SECONDS_DEFAULT, SYNC_SECONDS_MAX};
use crate::engine::{Fleet, Handle, Until};
use crate::{ErrorKind, clock, paths};

/// Bytes of the body of a request: a path, and some room.
const BODY_MAX: usize = 64 * 1024;
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of an answer.
pub(super) type Answer = Full<Bytes>;

/// What is not done, and why.
pub(super) type Refusal = (StatusCode, String);

/// Answers requests about the databases of one engine.
pub(super) struct Desk {
    pub(super) fleet: Arc<Fleet>,
    started: Instant,
    started_ms: i64,
}

impl Desk {
    pub(super) fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            started: Instant::now(),
            started_ms: clock::now_ms(),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/info") => json(&self.info()),
            (&Method::GET, "/list") => json(&List::of(&self.fleet.status())),
            (&Method::GET, "/status") => json(&Report::from(&self.fleet.status())),
            (&Method::GET, "/txid") => match self.txid(request.uri().query()).await {
                Ok(answer) => json(&answer),
                Err(refusal) => refused(refusal),
            },
            (&Method::POST, "/sync") => match self.sync(request).await {
                Ok(answer) => json(&answer),
                Err(refusal) => refused(refusal),
            },
            (&Method::POST, "/verify") => match self.verify(request).await {
                Ok(answer) => json(&answer),
                Err(refusal) => refused(refusal),
            },
            (_, "/info" | "/list" | "/status" | "/txid") => other_method("GET"),
            (_, "/sync" | "/verify") => other_method("POST"),
            (_, path) if path.starts_with("/policy") => self.policy(request).await,
            (_, path) => refused((StatusCode::NOT_FOUND, format!("there is no {path}"))),
        }
    }

    fn info(&self) -> Info {
        Info {
            version: format!("lockkeeper {}", env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            started_at: time(self.started_ms),
            database_count: self.fleet.members().len(),
        }
    }

    async fn txid(&self, query: Option<&str>) -> Result<TxidAnswer, Refusal> {
        let mut fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let path = fields.find_map(|(name, value)| (name == "path").then_some(value));
        let handle = self.find(&path.unwrap_or_default()).await?;
        Ok(TxidAnswer {
            txid: number(handle.shared.read(|marks| marks.spooled)),
        })
    }

    async fn sync(&self, request: Request<Incoming>) -> Result<SyncAnswer, Refusal> {
        let request: SyncRequest = parsed(request).await?;
        let handle = self.find_open(&request.path).await?;
        let path = shown(&handle.path);
        let seconds = seconds(request.timeout, SYNC_SECONDS_DEFAULT);
        let until = if request.wait {
            Until::Durable
        } else {
            Until::Spooled
        };
        let shared = Arc::clone(&handle.shared);
        let failed = |why| (StatusCode::INTERNAL_SERVER_ERROR, why);
        let synced = timeout(Duration::from_secs(seconds), handle.sync(until))
            .await
            .map_err(|_| failed(format!("not done in {seconds} s: {}", shared.backlog())))?
            .map_err(|error| failed(error.to_string()))?;
        let status = match (synced.changed, until) {
            (false, _) => "no_change",
            (true, Until::Durable) => "synced",
            (true, Until::Spooled) => "synced_local",
        };
        Ok(SyncAnswer {
            status: status.into(),
            path,
            txid: number(synced.spooled),
            replicated_txid: number(synced.durable),
        })
    }

    async fn verify(&self, request: Request<Incoming>) -> Result<VerifyAnswer, Refusal> {
        let request: VerifyRequest = parsed(request).await?;
        let handle = self.find_open(&request.path).await?;
        let path = shown(&handle.path);
        let seconds = seconds(request.timeout, SYNC_SECONDS_MAX);
        let failed = |why| (StatusCode::INTERNAL_SERVER_ERROR, why);
        let verified = timeout(Duration::from_secs(seconds), handle.verify())
            .await
            .map_err(|_| failed(format!("not done in {seconds} s")))?;
        let (txid, error) = match verified {
            Ok(verified) => (Some(hex(verified.txid)), None),
            Err(error) if error.kind() == ErrorKind::Corrupt => (None, Some(error.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        };
        Ok(VerifyAnswer { path, txid, error })
    }

    /// A database whose task can be asked.
    async fn find_open(&self, path: &str) -> Result<Handle, Refusal> {
        let handle = self.find(path).await?;
        if !handle.is_running() {
            let why = format!("database not open: {}", shown(&handle.path).display());
            return Err((StatusCode::CONFLICT, why));
        }
        Ok(handle)
    }

    async fn find(&self, path: &str) -> Result<Handle, Refusal> {
        if path.is_empty() {
            return Err(bad_request("path required".into()));
        }
        let path = paths::named(path).map_err(|error| bad_request(error.to_string()))?;
        let (fleet, wanted) = (Arc::clone(&self.fleet), path.clone());
        // Symbolic links are looked up on the disk.
        let found = tokio::task::spawn_blocking(move || fleet.find(&wanted)).await;
        found.ok().flatten().ok_or_else(|| not_found(&path))
    }
}

fn seconds(asked: i64, default: u64) -> u64 {
    match u64::try_from(asked) {
        Ok(seconds) if seconds > 0 => seconds.min(SYNC_SECONDS_MAX),
        _ => default,
    }
}

async fn parsed<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    serde_json::from_slice(&body(request).await?)
        .map_err(|error| bad_request(format!("invalid request body: {error}")))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let limited = Limited::new(request.into_body(), BODY_MAX);
    match timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(bad_request(format!("invalid request body: {error}"))),
        Err(_) => Err(bad_request("the request body did not come".into())),
    }
}

fn number(txid: Option<Txid>) -> u64 {
    txid.map_or(0, Txid::get)
}

fn bad_request(why: String) -> Refusal {
    (StatusCode::BAD_REQUEST, why)
}

fn not_found(path: &Path) -> Refusal {
    let why = format!("database not found: {}", path.display());
    (StatusCode::NOT_FOUND, why)
}

pub(super) fn other_method(allowed: &'static str) -> Response<Answer> {
    let why = format!("use {allowed}");
    let mut response = refused((StatusCode::METHOD_NOT_ALLOWED, why));
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

pub(super) fn refused((status, error): Refusal) -> Response<Answer> {
    let mut response = json(&Failure { error });
    *response.status_mut() = status;
    response
}

/// Nothing that is sent has no JSON; if it were so, the answer would say it.
pub(super) fn json(value: &impl Serialize) -> Response<Answer> {
    let (status, text) = match serde_json::to_string(value) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            serde_json::json!({ "error": error.to_string() }).to_string(),
        ),
    };
    let mut response = Response::new(Full::from(text + "\n"));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
