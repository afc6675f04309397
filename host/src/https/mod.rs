//! Connections to web servers: to stores, and to whoever watches over replication.

mod tls;

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Result;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Open connections without a request, for each server.
const IDLE_MAX: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that are kept between requests, whose bodies are of type `B`.
pub(crate) type Connections<B> = Client<HttpsConnector<connect::HttpConnector>, B>;

/// No connection yet. With `skip_verify` any certificate is accepted.
///
/// # Errors
///
/// [`crate::ErrorKind::Internal`] if the machine has no cryptography to offer.
pub(crate) fn connections<B>(skip_verify: bool) -> Result<Connections<B>>
where
    B: Body<Data = Bytes> + Send,
{
    let mut tcp = connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::config(skip_verify)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_MAX)
        .build(connector))
}

/// What went wrong and why: the errors of connections do not print their causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Causes(String);

impl Causes {
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        Self(text)
    }
}
