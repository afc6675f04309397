//! Times and numbers as people read them.

use std::time::{Duration, SystemTime};

use lockkeeper::Txid;

/// Hexadecimal digits of a transaction number.
const DIGITS: usize = 16;

/// A point in time in UTC, for a machine and for a person.
pub(crate) struct When {
    /// As `2026-01-31T09:30:00Z`.
    pub(crate) machine: String,
    /// As `2026-01-31 09:30:00 UTC`.
    pub(crate) person: String,
}

impl When {
    pub(crate) fn of(at: SystemTime) -> Self {
        let machine = humantime::format_rfc3339_seconds(at).to_string();
        let person = machine.replace('T', " ").replace('Z', " UTC");
        Self { machine, person }
    }

    /// Without the date.
    pub(crate) fn clock(&self) -> &str {
        self.person.get(11..).unwrap_or(&self.person)
    }
}

/// A transaction number in two parts: the zeros in front, which say little, and the rest.
pub(crate) struct Number {
    pub(crate) zeros: String,
    pub(crate) rest: String,
}

impl From<Txid> for Number {
    fn from(txid: Txid) -> Self {
        let rest = format!("{:x}", txid.get());
        let zeros = "0".repeat(DIGITS.saturating_sub(rest.len()));
        Self { zeros, rest }
    }
}

/// A short time with one unit, such as a lag: `40 ms`, `1.2 s`, `3 min`.
pub(crate) fn short(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let in_units = |unit_ms: u64, name| {
        let tenths = ms.saturating_mul(10) / unit_ms;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} {name}"),
            (whole, _) if whole >= 10 => format!("{whole} {name}"),
            (whole, tenth) => format!("{whole}.{tenth} {name}"),
        }
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => in_units(1_000, "s"),
        60_000..3_600_000 => in_units(60_000, "min"),
        3_600_000..172_800_000 => in_units(3_600_000, "h"),
        _ => in_units(86_400_000, "days"),
    }
}

/// How long something lasts, in at most two units: `2 h 5 min`.
pub(crate) fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |(first, one), (second, other)| match second {
        0 => format!("{first} {one}"),
        _ => format!("{first} {one} {second} {other}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => two((seconds / 60, "min"), (seconds % 60, "s")),
        3_600..86_400 => two((seconds / 3_600, "h"), (seconds % 3_600 / 60, "min")),
        _ => two((seconds / 86_400, "d"), (seconds % 86_400 / 3_600, "h")),
    }
}

/// How long ago `then` was, in steps that do not change each second for long.
pub(crate) fn ago(now: SystemTime, then: SystemTime) -> String {
    let age = now.duration_since(then).unwrap_or_default();
    match age.as_secs() {
        0..10 => "just now".to_owned(),
        10..60 => "less than a minute ago".to_owned(),
        seconds => format!("{} ago", long(Duration::from_secs(seconds / 60 * 60))),
    }
}

/// `1 transaction`, `2 transactions`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_250, "1.2 s"),
            (12_900, "12 s"),
            (90_000, "1.5 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (7_500, "2 h 5 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(long(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_time_ago_is_told_by_the_minute() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        for (seconds, text) in [
            (0, "just now"),
            (59, "less than a minute ago"),
            (61, "1 min ago"),
            (125, "2 min ago"),
            (7_199, "1 h 59 min ago"),
        ] {
            assert_eq!(ago(now, now - Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago(now, now + Duration::from_secs(5)), "just now");
    }

    #[test]
    fn a_number_has_sixteen_digits_of_which_the_zeros_stand_apart() {
        let number = Number::from(Txid::new(42).unwrap());
        assert_eq!(number.rest, "2a");
        assert_eq!(number.zeros.len(), 14);
        let when = When::of(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(when.person, "1970-01-01 00:00:01 UTC");
        assert_eq!(when.clock(), "00:00:01 UTC");
    }
}
