//! Replicas in the buckets of a service, as a configuration describes them.

mod azure;
mod environment;
mod gate;
mod gcs;
mod http;
mod requests;
mod s3;
mod tls;

use std::time::Duration;

use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};

pub(crate) use self::azure::AzurePlace;
pub(crate) use self::gcs::GcsPlace;
pub(crate) use self::http::Connectivity;
pub(super) use self::requests::Counters;
pub use self::requests::RequestCounts;
pub(crate) use self::s3::{Encryption, S3Place};
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
    fn a_path_that_a_bucket_would_take_literally_is_refused() {
        for bad in ["/a", "a/", "a//b", "./a", "a/../b", "."] {
            let error = parse_root(bad).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{bad}");
        }
        assert_eq!(parse_root("").unwrap().as_ref(), "");
        assert_eq!(parse_root("a b/c:d").unwrap().as_ref(), "a b/c:d");
    }
}
