//! How far the replicas were behind in the last minutes.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is measured.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// What one point stands for: several measurements, of which the worst counts.
pub(crate) const POINT: Duration = Duration::from_secs(5);
/// For how long points are kept.
pub(crate) const KEPT: Duration = Duration::from_secs(15 * 60);
/// Databases that are measured: the first of the configuration. With [`KEPT`] it bounds what is
/// remembered, some hundred kilobytes.
pub(crate) const DATABASES_MAX: usize = 20;

/// The worst of one stretch of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Point {
    /// When the stretch begins, since the begin of all measurements; a multiple of [`POINT`].
    pub(crate) from: Duration,
    /// The age of the oldest commit that was not durable.
    pub(crate) lag: Duration,
    /// Transactions that were not durable.
    pub(crate) behind: u64,
}

/// The points of each database. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct History {
    began: Instant,
    databases: Arc<Mutex<HashMap<PathBuf, VecDeque<Point>>>>,
}

/// What is measured of one database.
pub(crate) struct Measured<'a> {
    pub(crate) path: &'a Path,
    pub(crate) lag: Duration,
    pub(crate) behind: u64,
}

impl History {
    /// Nothing was measured yet.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            databases: Arc::default(),
        }
    }

    /// The time, since the begin of all measurements.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what was measured of every database at `now`. One that is not among them is forgotten.
    pub(crate) fn note<'a>(&self, now: Duration, measured: impl IntoIterator<Item = Measured<'a>>) {
        let mut databases = self.lock();
        let mut before = std::mem::take(&mut *databases);
        for one in measured.into_iter().take(DATABASES_MAX) {
            let mut points = before.remove(one.path).unwrap_or_default();
            add(&mut points, now, &one);
            databases.insert(one.path.to_owned(), points);
        }
    }

    /// The points of one database, oldest first.
    pub(crate) fn points(&self, path: &Path) -> Vec<Point> {
        let databases = self.lock();
        let points = databases.get(path);
        points
            .map(|points| points.iter().copied().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, VecDeque<Point>>> {
        // A panic meanwhile costs points, nothing else.
        self.databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(points: &mut VecDeque<Point>, now: Duration, measured: &Measured) {
    let from = Duration::from_secs(now.as_secs() / POINT.as_secs() * POINT.as_secs());
    let &Measured { lag, behind, .. } = measured;
    match points.back_mut() {
        Some(last) if last.from == from => {
            last.lag = last.lag.max(lag);
            last.behind = last.behind.max(behind);
        }
        _ => points.push_back(Point { from, lag, behind }),
    }
    while points.front().is_some_and(|first| first.from + KEPT <= now) {
        points.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn note(history: &History, now: u64, path: &str, lag: u64) {
        let path = Path::new(path);
        let lag = seconds(lag);
        let measured = Measured {
            path,
            lag,
            behind: lag.as_secs(),
        };
        history.note(seconds(now), [measured]);
    }

    #[test]
    fn a_point_is_the_worst_of_its_five_seconds() {
        let history = History::new();
        for (now, lag) in [(5, 1), (6, 4), (9, 2), (10, 0)] {
            note(&history, now, "a.db", lag);
        }
        let point = |from, lag| Point {
            from: seconds(from),
            lag: seconds(lag),
            behind: lag,
        };
        assert_eq!(
            history.points(Path::new("a.db")),
            [point(5, 4), point(10, 0)]
        );
    }

    #[test]
    fn what_is_older_than_it_is_kept_goes_and_so_does_a_database_that_left() {
        let history = History::new();
        for now in 0..10_000 {
            note(&history, now, "a.db", now);
        }
        let points = history.points(Path::new("a.db"));
        assert_eq!(points.len() as u64, KEPT.as_secs() / POINT.as_secs());
        assert_eq!(points[0].from, seconds(10_000) - KEPT);
        note(&history, 10_000, "b.db", 0);
        assert_eq!(history.points(Path::new("a.db")), []);
        assert_eq!(history.points(Path::new("b.db")).len(), 1);
    }

    #[test]
    fn no_more_databases_are_measured_than_are_shown() {
        let history = History::new();
        let names: Vec<String> = (0..100).map(|n| format!("{n}.db")).collect();
        let measured = names.iter().map(|name| Measured {
            path: Path::new(name),
            lag: Duration::ZERO,
            behind: 0,
        });
        history.note(Duration::ZERO, measured);
        let known = |name: &&String| !history.points(Path::new(name)).is_empty();
        assert_eq!(names.iter().filter(known).count(), DATABASES_MAX);
        assert!(known(&&names[DATABASES_MAX - 1]));
    }
}
