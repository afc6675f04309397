//! A stand-in for Google Cloud Storage: what its XML interface says, in memory.
//!
//! The emulators there are speak the other interface of Google, so that nothing here was ever held
//! against the real service. It also fails on demand, which real servers do not.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Keys of a page of a listing, as there are.
const PAGE_LEN: usize = 1000;
type Answer = Response<Full<Bytes>>;

/// The server. It ends with its value.
#[derive(Debug)]
pub struct FakeGcs {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// Parts by upload and number, with the metadata that came at its beginning.
    uploads: BTreeMap<String, (HeaderMap, BTreeMap<u32, Bytes>)>,
    /// Counts everything that is written.
    generation: u64,
    /// What was asked, such as `PUT path/to/key`.
    asked: Vec<String>,
    /// Answers to give instead of doing what is asked, to what begins so.
    failures: Vec<(String, Failure)>,
    ignores_conditions: bool,
    /// Requests that were not answered yet: now, and at most.
    waiting: usize,
    waiting_max: usize,
    /// How many must wait before the first is answered.
    crowd: usize,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    generation: u64,
    metadata: HeaderMap,
    written: jiff::Timestamp,
}

/// An answer that tells of a failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Its status.
    pub status: u16,
    /// The pause that it asks for, in seconds.
    pub retry_after: Option<u32>,
    /// Whether the work is done all the same, so that only the answer is wrong.
    pub is_done: bool,
}

impl FakeGcs {
    /// Starts it on a thread of its own.
    #[must_use]
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, tell) = std::sync::mpsc::sync_channel(1);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let listener = listener.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(&listener, &shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: tell.recv().unwrap(),
            state,
            _stop: stop,
        }
    }

    /// A replica on this server, as a `litestream.yml` has it.
    #[must_use]
    pub fn replica(&self, path: &str) -> String {
        let key = format!(
            r#"{{"gcs_base_url": "http://{}", "disable_oauth": true, "client_email": "",
            "private_key": "", "private_key_id": ""}}"#,
            self.address
        );
        let key = key.replace('\n', " ");
        format!("{{type: gs, bucket: lockkeeper, service-account: '{key}', path: '{path}'}}")
    }

    /// What was asked until now, such as `PUT path/to/key` or `LIST prefix`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }

    /// Answers the next requests that begin so, such as `PUT path/`, with a failure.
    pub fn fail(&self, begin: &str, failure: Failure, times: usize) {
        let failures = std::iter::repeat_n((begin.to_owned(), failure), times);
        lock(&self.state).failures.extend(failures);
    }

    /// Overwrites from now on what it is told to keep.
    pub fn ignore_conditions(&self) {
        lock(&self.state).ignores_conditions = true;
    }

    /// Answers nobody before so many wait.
    pub fn wait_for_a_crowd(&self, crowd: usize) {
        lock(&self.state).crowd = crowd;
    }

    /// The most requests that ever waited at a time.
    #[must_use]
    pub fn waiting_max(&self) -> usize {
        lock(&self.state).waiting_max
    }

    /// How many failures were not given out yet.
    #[must_use]
    pub fn failures_left(&self) -> usize {
        lock(&self.state).failures.len()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: &tokio::net::TcpListener, state: &Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            // A client that went away is no failure of the server.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(state: &Mutex<State>, request: http::Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return said(400, "IncompleteBody");
    };
    let path = parts.uri.path().trim_start_matches('/');
    let key = path.split_once('/').map(|(_, key)| decode(key));
    let asked = Asked {
        method: parts.method,
        key,
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    wait_for_the_others(state).await;
    let mut state = lock(state);
    state.waiting -= 1;
    let what = match &asked.key {
        Some(key) => format!("{} {key}", asked.method),
        None => format!("LIST {}", asked.query.get("prefix").unwrap_or_default()),
    };
    let failure = state
        .failures
        .iter()
        .position(|(begin, _)| what.starts_with(begin));
    state.asked.push(what);
    let Some(failure) = failure else {
        return state.answer(&asked);
    };
    let (_, failure) = state.failures.remove(failure);
    if failure.is_done {
        state.answer(&asked);
    }
    let mut answer = said(failure.status, "Injected");
    if let Some(seconds) = failure.retry_after {
        let seconds = seconds.to_string().parse().unwrap();
        answer.headers_mut().insert("retry-after", seconds);
    }
    answer
}

/// Waits until as many wait as are wanted, once.
async fn wait_for_the_others(state: &Mutex<State>) {
    {
        let mut state = lock(state);
        state.waiting += 1;
        state.waiting_max = state.waiting_max.max(state.waiting);
    }
    while {
        let state = lock(state);
        state.waiting_max < state.crowd
    } {
        tokio::task::yield_now().await;
    }
}

/// One request.
struct Asked {
    method: Method,
    key: Option<String>,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let Some(key) = &asked.key else {
            return self.list(&asked.query);
        };
        let upload = asked.query.get("uploadId");
        match (&asked.method, upload) {
            (&Method::PUT, Some(upload)) => self.put_part(upload, asked),
            (&Method::PUT, None) => self.put(key, asked),
            (&Method::POST, Some(upload)) => self.complete(key, upload),
            (&Method::POST, None) => self.begin(asked),
            (&Method::DELETE, Some(upload)) => {
                self.uploads.remove(upload);
                said(204, "")
            }
            (&Method::DELETE, None) => match self.objects.remove(key) {
                Some(_) => said(204, ""),
                None => said(404, "NoSuchKey"),
            },
            (&Method::GET | &Method::HEAD, _) => self.read(key, asked),
            _ => said(405, "MethodNotAllowed"),
        }
    }

    fn put(&mut self, key: &str, asked: &Asked) -> Answer {
        let wanted = asked.headers.get("x-goog-if-generation-match");
        let there = self.objects.get(key).map_or(0, |object| object.generation);
        if !self.ignores_conditions
            && wanted.is_some_and(|wanted| wanted != there.to_string().as_str())
        {
            return said(412, "PreconditionFailed");
        }
        self.write(key, asked.body.clone(), metadata(&asked.headers))
    }

    fn write(&mut self, key: &str, bytes: Bytes, metadata: HeaderMap) -> Answer {
        self.generation += 1;
        let object = Object {
            bytes,
            generation: self.generation,
            metadata,
            written: jiff::Timestamp::now(),
        };
        let answer = described(&object, said(200, ""));
        self.objects.insert(key.to_owned(), object);
        answer
    }

    fn begin(&mut self, asked: &Asked) -> Answer {
        self.generation += 1;
        let id = format!("upload-{}", self.generation);
        let upload = (metadata(&asked.headers), BTreeMap::new());
        self.uploads.insert(id.clone(), upload);
        text(&format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, upload: &str, asked: &Asked) -> Answer {
        let number = asked.query.get("partNumber").and_then(|n| n.parse().ok());
        match (self.uploads.get_mut(upload), number) {
            (Some((_, parts)), Some(number)) => {
                parts.insert(number, asked.body.clone());
                let mut answer = said(200, "");
                answer.headers_mut().insert("etag", etag(u64::from(number)));
                answer
            }
            _ => said(404, "NoSuchUpload"),
        }
    }

    fn complete(&mut self, key: &str, upload: &str) -> Answer {
        let Some((metadata, parts)) = self.uploads.remove(upload) else {
            return said(404, "NoSuchUpload");
        };
        let bytes: Vec<u8> = parts.into_values().flatten().collect();
        self.write(key, bytes.into(), metadata);
        text("<CompleteMultipartUploadResult><ETag>\"done\"</ETag></CompleteMultipartUploadResult>")
    }

    fn read(&self, key: &str, asked: &Asked) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return said(404, "NoSuchKey");
        };
        let len = object.bytes.len();
        let from = asked.headers.get("range").and_then(|range| {
            let range = range.to_str().ok()?.strip_prefix("bytes=")?;
            range.strip_suffix('-')?.parse::<usize>().ok()
        });
        let Some(from) = from else {
            let mut answer = Response::new(object.bytes.clone().into());
            answer.headers_mut().insert("content-length", len.into());
            return described(object, answer);
        };
        if from >= len {
            return said(416, "InvalidRange");
        }
        let mut answer = Response::new(object.bytes.slice(from..).into());
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{len}", len - 1);
        answer
            .headers_mut()
            .insert("content-range", range.parse().unwrap());
        described(object, answer)
    }

    fn list(&self, query: &Query) -> Answer {
        let prefix = query.get("prefix").unwrap_or_default();
        let delimiter = query.get("delimiter");
        let after = query.get("continuation-token").unwrap_or_default();
        let (mut contents, mut folders) = (String::new(), BTreeSet::new());
        let (mut count, mut next) = (0, None);
        for (key, object) in &self.objects {
            let Some(rest) = key.strip_prefix(prefix).filter(|_| key.as_str() > after) else {
                continue;
            };
            if count == PAGE_LEN {
                break;
            }
            count += 1;
            next = Some(key);
            match rest.split_once('/').filter(|_| delimiter.is_some()) {
                Some((folder, _)) => {
                    folders.insert(format!("{prefix}{folder}/"));
                }
                None => {
                    contents += &format!(
                        "<Contents><Key>{key}</Key><Size>{}</Size><ETag>x</ETag>\
                         <LastModified>{}</LastModified></Contents>",
                        object.bytes.len(),
                        object.written
                    );
                }
            }
        }
        let folders: String = folders
            .iter()
            .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
            .collect();
        let token = next
            .filter(|_| count == PAGE_LEN)
            .map_or_else(String::new, |key| {
                format!("<NextContinuationToken>{key}</NextContinuationToken>")
            });
        text(&format!(
            "<ListBucketResult>{contents}{folders}{token}</ListBucketResult>"
        ))
    }
}

fn metadata(headers: &HeaderMap) -> HeaderMap {
    let own = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-goog-meta-"));
    own.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn described(object: &Object, mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.extend(object.metadata.clone());
    headers.insert("etag", etag(object.generation));
    headers.insert("x-goog-generation", object.generation.into());
    let written = object.written.strftime("%a, %d %b %Y %H:%M:%S GMT");
    headers.insert("last-modified", written.to_string().parse().unwrap());
    answer
}

fn etag(number: u64) -> http::HeaderValue {
    format!("\"{number}\"").parse().unwrap()
}

fn said(status: u16, code: &str) -> Answer {
    let mut answer = match code {
        "" => Response::default(),
        code => text(&format!(
            "<Error><Code>{code}</Code><Message>as told</Message></Error>"
        )),
    };
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn text(text: &str) -> Answer {
    Response::new(Bytes::from(text.to_owned()).into())
}

/// The parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads the bytes that were written as `%` and two digits.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let coded = (*first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let coded = coded.and_then(|(digits, tail)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, tail))
        });
        let (byte, tail) = coded.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).unwrap()
}
