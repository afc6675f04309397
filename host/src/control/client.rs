//! Asks a process that replicates: ours, or Litestream.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::policies::SHADOW_SECONDS_MAX;
use super::{
    DecidingReport, Failure, Info, InstallAnswer, List, Report, SyncAnswer, SyncRequest,
    TxidAnswer, VerifyAnswer, VerifyRequest,
};
use crate::{Error, ErrorKind, Result};

/// Bytes of an answer: the status of as many databases as one engine takes.
const ANSWER_MAX: usize = 128 * 1024 * 1024;
/// What a process may take longer than the sync it was asked for, to say why it is not done.
const SYNC_GRACE: Duration = Duration::from_secs(2);

/// Asks over a control socket. Every request is a connection of its own.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let path = folder.path().join("app.db").display().to_string();
/// # let socket = folder.path().join("control.sock");
/// # let keeper = lockkeeper::Lockkeeper::builder()
/// #     .config("socket: {enabled: true, path: control.sock}\n\
/// #              dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path())
/// #     .start()
/// #     .await?;
/// use std::time::Duration;
///
/// use lockkeeper::control::{Client, SyncRequest, VerifyRequest};
///
/// let client = Client::new(&socket, Duration::from_secs(120));
/// println!("process {} at {}", client.info().await?.pid, client.socket().display());
///
/// let request = SyncRequest { path: path.clone(), wait: true, timeout: 30 }; // seconds
/// assert_eq!(client.sync(&request).await?.path, folder.path().join("app.db"));
/// assert!(client.txid(&path).await?.txid >= 1);
/// let request = VerifyRequest { path, timeout: 30 };
/// assert_eq!(client.verify(&request).await?.error, None);
/// assert_eq!(client.list().await?.databases.len(), 1);
/// assert!(client.status().await?.problems.is_empty());
///
/// # let mut component = lockkeeper_component::DEFAULT_POLICY.to_vec();
/// # component.extend([0, 5, 4, b'n', b'o', b't', b'e']); // another one, by its digest
/// let installed = client.install_policy(component, None, 0, 0).await?;
/// assert_eq!(client.policy().await?.component, installed.component);
/// client.roll_back_policy().await?;
/// assert!(client.reload_policy().await.is_err()); // there is no store to take one from
/// # keeper.stop(Duration::from_secs(15)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Nothing is opened yet. An answer may take up to `timeout`.
    pub fn new(socket: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self {
            socket: socket.into(),
            timeout,
        }
    }

    /// Where the socket is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who answers.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody answers in time, or what is asked for failed; `Invalid` if the
    /// process does not know the request or the database.
    pub async fn info(&self) -> Result<Info> {
        self.get("/info").await
    }

    /// The databases that are replicated.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn list(&self) -> Result<List> {
        self.get("/list").await
    }

    /// The state of everything. Litestream does not answer it.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn status(&self) -> Result<Report> {
        self.get("/status").await
    }

    /// The last transaction that a database has sealed.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn txid(&self, database: &str) -> Result<TxidAnswer> {
        let mut query = form_urlencoded::Serializer::new(String::from("/txid?"));
        query.append_pair("path", database);
        self.get(&query.finish()).await
    }

    /// Seals what is committed to a database; waits for the replica if the request says so.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn sync(&self, request: &SyncRequest) -> Result<SyncAnswer> {
        self.post("/sync", request).await
    }

    /// Has the replica of a database restored and compared with it. Litestream does not answer it.
    ///
    /// # Errors
    ///
    /// As [`Client::info`]; a replica that does not restore to its database is no error.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<VerifyAnswer> {
        self.post("/verify", request).await
    }

    /// Asks for what may take as long as the request says.
    async fn post<T: DeserializeOwned>(&self, target: &str, request: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::internal("a request has no JSON").with_source(error))?;
        let request = Request::post(target).header(CONTENT_TYPE, "application/json");
        let deadline = self.timeout.saturating_add(SYNC_GRACE);
        self.ask(request, body.into(), deadline).await
    }

    /// Who decides.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn policy(&self) -> Result<DecidingReport> {
        self.get("/policy").await
    }

    /// Lets the component `bytes` decide, after it answered `shadow` decisions beside the current
    /// one, or those of so many `seconds`.
    ///
    /// # Errors
    ///
    /// As [`Client::info`]; `Invalid` if the component was refused.
    pub async fn install_policy(
        &self,
        bytes: Vec<u8>,
        sha256: Option<&str>,
        shadow: u32,
        seconds: u64,
    ) -> Result<InstallAnswer> {
        let mut query = form_urlencoded::Serializer::new(String::from("/policy/install?"));
        query.append_pair("shadow", &shadow.to_string());
        query.append_pair("seconds", &seconds.to_string());
        if let Some(sha256) = sha256 {
            query.append_pair("sha256", sha256);
        }
        let request = Request::post(query.finish()).header(CONTENT_TYPE, "application/wasm");
        let seconds = seconds.min(SHADOW_SECONDS_MAX);
        let deadline = self.timeout.saturating_add(Duration::from_secs(seconds));
        self.ask(request, bytes.into(), deadline).await
    }

    /// Installs the newest component of the configuration store, if another one decides.
    ///
    /// # Errors
    ///
    /// As [`Client::install_policy`].
    pub async fn reload_policy(&self) -> Result<InstallAnswer> {
        let request = Request::post("/policy/reload");
        self.ask(
            request,
            Bytes::new(),
            self.timeout.saturating_add(SYNC_GRACE * 10),
        )
        .await
    }

    /// Lets the component before decide again.
    ///
    /// # Errors
    ///
    /// As [`Client::info`]; `Invalid` if there is none.
    pub async fn roll_back_policy(&self) -> Result<DecidingReport> {
        let request = Request::post("/policy/rollback");
        self.ask(request, Bytes::new(), self.timeout).await
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T> {
        self.ask(Request::get(target), Bytes::new(), self.timeout)
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
        deadline: Duration,
    ) -> Result<T> {
        let request = request
            .header(HOST, "localhost")
            .body(Full::new(body))
            .map_err(|error| Error::internal("a request is malformed").with_source(error))?;
        let answer = timeout(deadline, self.exchange(request)).await;
        let (status, body) = answer.map_err(|_| {
            self.failed(&format!(
                "no answer within {}",
                humantime::format_duration(deadline)
            ))
        })??;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| self.failed("the answer makes no sense").with_source(error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            Error::unavailable(format!(
                "failed to connect to control socket {}",
                self.socket.display()
            ))
            .with_source(error)
        })?;
        let broken = |error: hyper::Error| self.failed("no answer").with_source(error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX);
            let body = body.collect().await;
            let body = body.map_err(|error| self.failed("no answer").with_source(error))?;
            Ok((status, body.to_bytes()))
        };
        let answer = answer.await;
        connection.abort();
        answer
    }

    fn failed(&self, what: &str) -> Error {
        Error::unavailable(format!("control socket {}: {what}", self.socket.display()))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let why = match serde_json::from_slice::<Failure>(body) {
            Ok(failure) => failure.error,
            Err(_) => format!(
                "control socket {}: the process does not know the request ({status})",
                self.socket.display()
            ),
        };
        let kind = if status.is_client_error() && status != StatusCode::CONFLICT {
            ErrorKind::Invalid
        } else {
            ErrorKind::Unavailable
        };
        Error::new(kind, why)
    }
}
