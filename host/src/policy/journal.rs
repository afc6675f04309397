//! The lines that a component writes to the host's log.

use std::time::{Duration, Instant};

use lockkeeper_core::text::printable;

use super::contract::types::Severity;
use super::rate::RateLimit;

/// The longest line, in characters.
const LINE_CHARS_MAX: usize = 500;
/// Lines of one component in each [`WINDOW`]: enough for one a decision in a quiet process.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Where the lines of one component go, with the bounds that all its instances share.
#[derive(Debug)]
pub(super) struct Journal {
    policy: String,
    limit: RateLimit,
}

impl Journal {
    /// For the component that messages call `policy`.
    pub(super) fn new(policy: String) -> Self {
        Self {
            policy,
            limit: RateLimit::new(LINES_MAX, WINDOW),
        }
    }

    pub(super) fn write(&self, severity: Severity, message: &str, now: Instant) {
        let Some(suppressed) = self.limit.admit(now) else {
            return;
        };
        let (policy, message) = (&self.policy, printable(message, LINE_CHARS_MAX));
        // Alarms are the host's: what a component calls an error is no more than a warning here.
        match severity {
            Severity::Error | Severity::Warning => {
                tracing::warn!(%policy, suppressed, "policy: {message}");
            }
            Severity::Note => tracing::info!(%policy, suppressed, "policy: {message}"),
        }
    }
}
