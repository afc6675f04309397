//! Servers that asked for a pause, and for how long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::time::Instant;

use crate::clock;

/// The longest pause that a server gets: it may be a mistake, and then a day without a replica
/// would be one, too.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Holds back requests to servers that asked for it; for all databases at once.
#[derive(Debug, Default)]
pub(super) struct Gates(Mutex<HashMap<String, Instant>>);

impl Gates {
    /// Waits until `host` may be asked again.
    pub(super) async fn pass(&self, host: &str) {
        let until = self.lock().get(host).copied();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Lets nobody ask `host` for a while.
    pub(super) fn close(&self, host: &str, pause: Duration) {
        let now = Instant::now();
        let mut gates = self.lock();
        gates.retain(|_, until| *until > now);
        gates.insert(host.to_owned(), now + pause.min(PAUSE_MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause that an answer asks for: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let ms = date
        .timestamp()
        .as_millisecond()
        .saturating_sub(clock::now_ms());
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_a_server_before_its_pause_is_over() {
        let gates = Gates::default();
        let start = Instant::now();
        gates.pass("a").await;
        gates.close("a", Duration::from_secs(7));
        gates.pass("b").await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        gates.pass("a").await;
        assert!(start.elapsed() >= Duration::from_secs(7));
        gates.close("a", Duration::from_secs(100_000));
        gates.pass("a").await;
        assert!(start.elapsed() < Duration::from_secs(7 + 61));
    }

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_date() {
        let of = |text: &str| {
            let value = http::HeaderValue::from_str(text).unwrap();
            pause(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(of("3"), Some(Duration::from_secs(3)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = of("Wed, 21 Oct 2499 07:28:00 GMT");
        assert!(later > Some(Duration::from_secs(1000)));
        assert_eq!(of("soon"), None);
        assert_eq!(pause(&HeaderMap::new()), None);
    }
}
