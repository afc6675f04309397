//! Replicas in the buckets of a service, as a configuration describes them.

mod azure;
mod carried;
mod environment;
mod gate;
mod gcs;
mod http;
mod region;
mod requests;
mod s3;

use std::time::Duration;

use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};
use url::Url;

pub(crate) use self::azure::AzurePlace;
pub(crate) use self::gcs::GcsPlace;
pub(crate) use self::http::Connectivity;
pub(super) use self::requests::Counters;
pub use self::requests::RequestCounts;
pub(crate) use self::s3::{Amazon, Encryption, S3Place};
use crate::{Error, Result};

/// Few tries and short waits within one operation: whoever wants it done knows better how long to
/// wait for the next.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(30),
    }
}

/// The folder of a replica in a bucket.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if it has a part that is empty, `.` or `..`: the service would
/// take it literally, and the client could not write it so.
fn parse_root(path: &str) -> Result<Path> {
    let is_plain =
        |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if !path.is_empty() && !path.split('/').all(is_plain) {
        return Err(Error::invalid(format!(
            "the path {path:?} of a replica has a part that is empty, `.` or `..`, and a bucket \
             takes that literally: write it without"
        )));
    }
    Path::parse(path)
        .map_err(|error| Error::invalid(format!("not a path: {path:?}")).with_source(error))
}

/// Refuses what the client could not put into a request.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if `text` has more in it than letters, digits and signs of ASCII.
fn check_word(setting: &str, text: &str) -> Result<()> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{setting}` has a blank or a strange letter in it: correct it"
    )))
}

/// Refuses what is not the address of a server, which the client would not survive.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if `url` is not one of HTTP, or has more to it than a path.
fn check_url(setting: &str, url: &str) -> Result<()> {
    let parsed = Url::parse(url).ok();
    let is_plain = parsed.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if is_plain && url.parse::<::http::Uri>().is_ok() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{setting}` is not the address of a server: write for example `https://s3.example.com`"
    )))
}

/// A place further down, for one of many databases.
fn below(path: &str, relative: &std::path::Path) -> String {
    let parts = relative.iter().map(|part| part.to_string_lossy());
    let mut all = path.to_owned();
    for part in parts {
        // What is empty stands for the slash that every key begins with.
        all.push('/');
        all.push_str(&part);
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_put_into_a_request_is_refused() {
        for bad in ["a b", "a\n", "ä", "a\u{7f}"] {
            assert!(check_word("region", bad).is_err(), "{bad:?}");
        }
        assert!(check_word("region", "eu-west-1").is_ok());
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "http://",
            "http://a b",
            "http://a:99999",
            "http://1.2.3.256",
            "http://a?b",
            "http://a#b",
            "http://user:canary@a",
        ] {
            let error = check_url("endpoint", bad).unwrap_err().to_string();
            assert!(error.contains("`endpoint`"), "{bad}");
            assert!(!error.contains("canary"), "{error}");
        }
        for good in [
            "http://[::1]:9000/b",
            "https://example.com/a/b",
            "http://a/b/",
        ] {
            assert!(check_url("endpoint", good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_path_that_a_bucket_would_take_literally_is_refused() {
        for bad in ["/a", "a/", "a//b", "./a", "a/../b", "."] {
            let error = parse_root(bad).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{bad}");
        }
        assert_eq!(parse_root("").unwrap().as_ref(), "");
        assert_eq!(parse_root("a b/c:d").unwrap().as_ref(), "a b/c:d");
    }
}
