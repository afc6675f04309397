//! Tells a web server that all is well. It raises an alarm when it is told no more.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::LOCATION;
use hyper::{Request, Response, body::Incoming};
use tokio::time::timeout;
use url::Url;

use crate::https::{Causes, Connections, connections};
use crate::secret::Secret;
use crate::{Error, Result};

/// How long the server may take, as with Litestream.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Servers that pass us on to another, one after the other.
const REDIRECTS_MAX: usize = 5;

/// Whom to tell, and how often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HeartbeatSettings {
    /// Who knows it can pretend to be us.
    pub(crate) url: Secret,
    pub(crate) interval: Duration,
}

/// The way to the server.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    url: Secret,
    connections: Connections<Empty<Bytes>>,
}

impl Heartbeat {
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Internal`] if the machine has no cryptography to offer.
    pub(crate) fn new(url: Secret) -> Result<Self> {
        Ok(Self {
            url,
            connections: connections(false)?,
        })
    }

    /// Sends one.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is no such address; `Unavailable` if the server does not answer in time,
    /// or with a status that is not 2xx. Neither names more of the address than the server.
    pub(crate) async fn send(&self) -> Result<()> {
        let mut url = Url::parse(self.url.expose())
            .map_err(|error| Error::invalid("heartbeat-url is no address").with_source(error))?;
        for _ in 0..=REDIRECTS_MAX {
            let answer = match timeout(ANSWER_MAX, self.ask(&url)).await {
                Ok(answer) => answer?,
                Err(_) => return Err(failed(&url, "it does not answer")),
            };
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let next = answer
                .headers()
                .get(LOCATION)
                .filter(|_| status.is_redirection());
            let Some(next) = next.and_then(|next| url.join(next.to_str().ok()?).ok()) else {
                return Err(failed(&url, &format!("it answers with {status}")));
            };
            url = next;
        }
        Err(failed(&url, "it is passed on again and again"))
    }

    async fn ask(&self, url: &Url) -> Result<Response<Incoming>> {
        let request = Request::get(url.as_str())
            .body(Empty::new())
            .map_err(|_| failed(url, "no request can be sent to such an address"))?;
        let answer = self.connections.request(request).await;
        answer.map_err(|error| failed(url, "").with_source(Causes::of(&error)))
    }
}

fn failed(url: &Url, why: &str) -> Error {
    let server = url.host_str().unwrap_or("nobody");
    let mut text = format!("the heartbeat to {server} failed");
    if !why.is_empty() {
        text += &format!(": {why}");
    }
    Error::unavailable(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers so, one request after the other; returns what was asked for.
    fn server(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serve = std::thread::spawn(move || {
            let answer = |text: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 4096];
                let len = stream.read(&mut head).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                let head = String::from_utf8_lossy(&head[..len]).into_owned();
                head.lines().next().unwrap().to_owned()
            };
            answers.into_iter().map(answer).collect()
        });
        (address, serve)
    }

    fn heart(url: String) -> Heartbeat {
        Heartbeat::new(Secret::new(url)).unwrap()
    }

    #[tokio::test]
    async fn a_heartbeat_is_a_get_and_follows_to_where_it_is_sent() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /there?x=1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let good = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let (address, served) = server(vec![moved, good]);
        heart(format!("{address}/ping/token")).send().await.unwrap();
        assert_eq!(
            served.join().unwrap(),
            ["GET /ping/token HTTP/1.1", "GET /there?x=1 HTTP/1.1"]
        );
    }

    #[tokio::test]
    async fn what_is_no_success_is_an_error_that_does_not_tell_the_secret() {
        let bad = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (address, served) = server(vec![bad]);
        let error = heart(format!("{address}/hunter2"))
            .send()
            .await
            .unwrap_err();
        served.join().unwrap();
        let nobody = heart("http://127.0.0.1:1/hunter2".into()).send().await;
        for text in [error.to_string(), nobody.unwrap_err().to_string()] {
            assert!(text.contains("127.0.0.1 failed"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
