//! The page on how the replication is doing, and what keeps it up to date.
//!
//! `lag` remembers what was measured, `view` makes the pieces of the page, `live` measures and
//! tells whoever looks, `document` is the same as JSON.

mod chart;
mod document;
mod lag;
mod live;
mod routes;
mod view;
mod words;

use std::time::{Duration, SystemTime};

use lockkeeper::Status;

use self::lag::{History, Point};
pub(crate) use self::live::{Live, Observer};
pub(crate) use self::routes::{events, pages};

/// Everything that is known at one moment.
pub(crate) struct Moment {
    /// On the wall.
    at: SystemTime,
    /// As [`History`] counts.
    now: Duration,
    /// `None` before replication was started and after it was stopped.
    status: Option<Status>,
    /// The points of each database of `status`; of those that are not measured there are none.
    points: Vec<Vec<Point>>,
}

impl Moment {
    /// As it is now.
    fn of(status: Option<Status>, history: &History) -> Self {
        let databases = status.iter().flat_map(|status| &status.databases);
        Self {
            at: SystemTime::now(),
            now: history.now(),
            points: databases
                .map(|database| history.points(&database.path))
                .collect(),
            status,
        }
    }
}
