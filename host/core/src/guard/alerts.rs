//! Which alerts of a policy reach people, and the last ones that did.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use crate::policy::{Alert, Event, Severity};
use crate::text::printable;

/// The most alerts that one event can lead to.
pub const ALERTS_MAX: usize = 4;
/// The longest time for which further alerts are swallowed.
pub const QUIET_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The most alerts in an hour, of all databases: more than a person reads.
pub const HOURLY_MAX: u32 = 100;
/// Alerts that are remembered, to be shown and to be swallowed.
const SHOWN_MAX: usize = 50;
const QUIET_MAX: usize = 1000;
/// Databases and codes whose events are counted.
const COUNTED_MAX: usize = 10_000;
/// Longest code and message, in characters.
const CODE_CHARS_MAX: usize = 60;
const MESSAGE_CHARS_MAX: usize = 500;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Why an alert did not reach people, or not as it was meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AlertRefusal {
    /// It came after [`ALERTS_MAX`] others for one event.
    TooManyAlerts,
    /// It came after [`HOURLY_MAX`] others in an hour.
    TooManyInAnHour,
    /// It would have kept others quiet for more than [`QUIET_MS_MAX`]; it does so for that long.
    QuietTooLong,
}

impl AlertRefusal {
    /// A stable name for logs and counters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooManyAlerts => "too-many-alerts",
            Self::TooManyInAnHour => "too-many-alerts-in-an-hour",
            Self::QuietTooLong => "quiet-too-long",
        }
    }
}

/// An alert that reached people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Raised {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The name of the database file.
    pub database: String,
    /// How bad it is.
    pub severity: Severity,
    /// Kebab-case.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What became of the alerts for one event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Admitted {
    /// To be told to people.
    pub raised: Vec<Raised>,
    /// What the guard did not let through, or changed.
    pub refused: Vec<AlertRefusal>,
}

/// The memory of events and alerts that a policy does not have.
#[derive(Debug, Default)]
pub struct AlertDesk {
    /// How often each event began, and when it did last.
    counts: BTreeMap<(String, Cow<'static, str>), (u32, u64)>,
    /// Until when an alert of a database is swallowed.
    quiet: BTreeMap<(String, String), u64>,
    /// The hour in which alerts are counted, and how many there were.
    hour: (u64, u32),
    shown: VecDeque<Raised>,
}

impl AlertDesk {
    /// Completes an event with what happened before it.
    #[must_use]
    pub fn note(&mut self, mut event: Event) -> Event {
        let key = (event.database.clone(), event.code.clone());
        let known = self.counts.get(&key).copied();
        let (count, previous_ms) = known.map_or((0, None), |(count, at_ms)| (count, Some(at_ms)));
        event.previous_ms = previous_ms;
        event.count = count;
        if event.begins {
            event.count = count.saturating_add(1);
            if known.is_some() || self.counts.len() < COUNTED_MAX {
                self.counts.insert(key, (event.count, event.now_ms));
            }
        }
        event
    }

    /// Lets through what a person can read.
    pub fn admit(&mut self, event: &Event, alerts: Vec<Alert>) -> Admitted {
        let mut admitted = Admitted::default();
        let surplus = alerts.len().saturating_sub(ALERTS_MAX);
        admitted
            .refused
            .extend((0..surplus.min(1)).map(|_| AlertRefusal::TooManyAlerts));
        for alert in alerts.into_iter().take(ALERTS_MAX) {
            self.admit_one(event, alert, &mut admitted);
        }
        admitted
    }

    /// The last alerts, oldest first.
    #[must_use]
    pub fn shown(&self) -> Vec<Raised> {
        self.shown.iter().cloned().collect()
    }

    fn admit_one(&mut self, event: &Event, alert: Alert, admitted: &mut Admitted) {
        let now_ms = event.now_ms;
        let code = printable(&alert.code, CODE_CHARS_MAX);
        let key = (event.database.clone(), code.clone());
        if self.quiet.get(&key).is_some_and(|until| now_ms < *until) {
            return;
        }
        if !self.hour_has_room(now_ms) {
            admitted.refused.push(AlertRefusal::TooManyInAnHour);
            return;
        }
        if alert.quiet_for_ms > QUIET_MS_MAX {
            admitted.refused.push(AlertRefusal::QuietTooLong);
        }
        let quiet_for_ms = alert.quiet_for_ms.min(QUIET_MS_MAX);
        self.keep_quiet(key, now_ms, now_ms.saturating_add(quiet_for_ms));
        let raised = Raised {
            at_ms: now_ms,
            database: event.database.clone(),
            severity: alert.severity,
            code,
            message: printable(&alert.message, MESSAGE_CHARS_MAX),
        };
        if self.shown.len() >= SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(raised.clone());
        admitted.raised.push(raised);
    }

    /// Counts one more alert of this hour, if it may be.
    fn hour_has_room(&mut self, now_ms: u64) -> bool {
        let hour = now_ms.checked_div(HOUR_MS).unwrap_or(0);
        if self.hour.0 != hour {
            self.hour = (hour, 0);
        }
        self.hour.1 = self.hour.1.saturating_add(1);
        self.hour.1 <= HOURLY_MAX
    }

    /// Too many at a time, and some are raised more often than they should.
    fn keep_quiet(&mut self, key: (String, String), now_ms: u64, until_ms: u64) {
        if self.quiet.len() >= QUIET_MAX {
            self.quiet.retain(|_, until| now_ms < *until);
        }
        if self.quiet.len() < QUIET_MAX {
            self.quiet.insert(key, until_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(now_ms: u64, begins: bool) -> Event {
        Event {
            now_ms,
            database: "app.db".into(),
            code: "log-held".into(),
            begins,
            ..Event::default()
        }
    }

    fn alert(code: &str, quiet_for_ms: u64) -> Alert {
        Alert {
            code: code.into(),
            message: "a\nb".into(),
            quiet_for_ms,
            ..Alert::default()
        }
    }

    #[test]
    fn an_event_knows_how_often_it_began_before() {
        let mut desk = AlertDesk::default();
        let mut note = |now_ms, begins| {
            let event = desk.note(event(now_ms, begins));
            (event.count, event.previous_ms)
        };
        assert_eq!(note(5, true), (1, None));
        assert_eq!(note(6, false), (1, Some(5)));
        assert_eq!(note(9, true), (2, Some(5)));
        assert_eq!(note(12, true), (3, Some(9)));
    }

    #[test]
    fn a_quiet_alert_swallows_others_of_its_code_and_database_for_a_day_at_most() {
        let mut desk = AlertDesk::default();
        let first = desk.admit(&event(0, true), vec![alert("held", u64::MAX)]);
        assert_eq!(first.raised.len(), 1);
        assert_eq!(first.raised[0].message, "a\\u{a}b");
        assert_eq!(first.refused, [AlertRefusal::QuietTooLong]);
        let again = |desk: &mut AlertDesk, event: &Event, code| {
            desk.admit(event, vec![alert(code, 0)]).raised.len()
        };
        assert_eq!(again(&mut desk, &event(QUIET_MS_MAX - 1, true), "held"), 0);
        assert_eq!(again(&mut desk, &event(1, true), "other"), 1);
        let elsewhere = Event {
            database: "other.db".into(),
            ..event(1, true)
        };
        assert_eq!(again(&mut desk, &elsewhere, "held"), 1);
        assert_eq!(again(&mut desk, &event(QUIET_MS_MAX, true), "held"), 1);
    }

    #[test]
    fn a_flood_of_alerts_is_cut_by_event_and_by_hour() {
        let mut desk = AlertDesk::default();
        let flood = vec![alert("a", 0); 9];
        let first = desk.admit(&event(0, true), flood.clone());
        assert_eq!(first.raised.len(), ALERTS_MAX);
        assert_eq!(first.refused, [AlertRefusal::TooManyAlerts]);
        let mut raised = first.raised.len();
        for _ in 0..100 {
            raised += desk.admit(&event(1, true), flood.clone()).raised.len();
        }
        assert_eq!(raised, HOURLY_MAX as usize);
        assert_eq!(desk.shown().len(), SHOWN_MAX);
        let later = desk.admit(&event(HOUR_MS, true), flood);
        assert_eq!(later.raised.len(), ALERTS_MAX);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut desk = AlertDesk::default();
        for n in 0..2 * COUNTED_MAX {
            let event = Event {
                now_ms: n as u64 * HOUR_MS,
                database: n.to_string(),
                ..event(0, true)
            };
            let event = desk.note(event);
            desk.admit(&event, vec![alert("a", QUIET_MS_MAX)]);
        }
        assert_eq!(desk.counts.len(), COUNTED_MAX);
        assert!(desk.quiet.len() <= QUIET_MAX);
        assert_eq!(desk.shown.len(), SHOWN_MAX);
    }
}
