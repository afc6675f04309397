//! What to tell people of what happens to a database.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::plan::Severity;

/// How long the alert of a repeated event is swallowed.
const ALERT_PAUSE: u64 = 60 * 60 * 1000;

/// What [`on_event`] is asked with.
#[derive(Clone, Debug)]
pub struct Event {
    /// Kebab-case.
    pub code: String,
    /// Whether it begins; else it ended.
    pub begins: bool,
    /// How bad the host takes it to be.
    pub severity: Severity,
    /// What the host says about it.
    pub message: String,
}

/// Something that a person should read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// Kebab-case.
    pub code: String,
    /// For people.
    pub message: String,
    /// For how long the same alert is swallowed.
    pub quiet_for: u64,
}

/// One alert for whatever begins, at most once an hour for the same thing, and one when it ends.
#[must_use]
pub fn on_event(event: Event) -> Vec<Alert> {
    let alert = if event.begins {
        Alert {
            severity: event.severity,
            code: event.code,
            message: event.message,
            quiet_for: ALERT_PAUSE,
        }
    } else {
        Alert {
            severity: Severity::Note,
            code: format!("{}-ended", event.code),
            message: event.message,
            quiet_for: 0,
        }
    };
    vec![alert]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_is_told_once_an_hour_and_what_ends_each_time() {
        let event = |begins| Event {
            code: "lost".into(),
            begins,
            severity: Severity::Error,
            message: "gone".into(),
        };
        let begun = on_event(event(true));
        assert_eq!(begun[0].severity, Severity::Error);
        assert_eq!(
            (begun[0].code.as_str(), begun[0].quiet_for),
            ("lost", 3_600_000)
        );
        let ended = on_event(event(false));
        assert_eq!(ended[0].severity, Severity::Note);
        assert_eq!(
            (ended[0].code.as_str(), ended[0].quiet_for),
            ("lost-ended", 0)
        );
    }
}
