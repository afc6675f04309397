//! The chart of lag over time: an SVG that scales in width, with its numbers as a table beside it.
//!
//! The curve lies in a box of its own that is stretched to the width of the page, one unit a
//! second; the words lie outside of it and keep their size.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use askama::Template;

use super::lag::{KEPT, POINT, Point};
use super::words::{When, counted, short};

/// The height of the curve's box, in units.
const HEIGHT: f64 = 100.0;
/// What the top of the chart may be, in milliseconds: steps that people count in.
const SCALES_MS: [u64; 18] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    60_000,
    120_000,
    300_000,
    600_000,
    1_200_000,
    3_600_000,
    7_200_000,
    18_000_000,
    43_200_000,
    86_400_000,
    172_800_000,
    864_000_000,
    8_640_000_000,
];
const MINUTE: Duration = Duration::from_secs(60);
/// What the chart shows while nothing older was measured: in [`KEPT`] it would be a dot.
const BEGIN: Duration = Duration::from_secs(3 * 60);

/// The picture, with a text that says the same.
#[derive(Template)]
#[template(path = "replication/chart.html")]
pub(crate) struct Chart {
    /// What makes the ids of one page differ.
    pub(crate) id: String,
    pub(crate) database: String,
    summary: String,
    line: String,
    area: String,
    top: String,
    half: String,
    /// What the width stands for, in seconds.
    width: u64,
    /// The same in minutes, and two and one third of it.
    minutes: [u64; 3],
}

/// The numbers of the picture by the minute, newest first.
#[derive(Template)]
#[template(path = "replication/minutes.html")]
pub(crate) struct Minutes {
    rows: Vec<Minute>,
}

#[derive(Debug, Eq, PartialEq)]
struct Minute {
    /// When it ended.
    ago: String,
    lag: String,
    behind: u64,
}

impl Chart {
    /// The chart of `points` at `now`, which is `clock` on the wall.
    pub(crate) fn new(
        id: String,
        database: String,
        points: &[Point],
        now: Duration,
        clock: SystemTime,
    ) -> Self {
        let worst = points.iter().map(|point| point.lag).max();
        let top = scale(worst.unwrap_or_default());
        let oldest = points.first().map_or(now, |point| point.from);
        let is_young = now.saturating_sub(oldest) < BEGIN;
        let span = if is_young { BEGIN } else { KEPT };
        let (line, area) = curve(points, now, span, top);
        let minutes = span.as_secs() / MINUTE.as_secs();
        Self {
            id,
            database,
            summary: summary(points, now, clock),
            line,
            area,
            top: short(top),
            half: short(top / 2),
            width: span.as_secs(),
            minutes: [minutes, minutes * 2 / 3, minutes / 3],
        }
    }
}

impl Minutes {
    pub(crate) fn new(points: &[Point], now: Duration) -> Self {
        let mut rows = Vec::new();
        for minute in 0..(KEPT.as_secs() / MINUTE.as_secs()) {
            let ages = MINUTE * minute as u32..MINUTE * (minute as u32 + 1);
            let within = points
                .iter()
                .filter(|point| ages.contains(&now.saturating_sub(point.from)));
            let lag = within.clone().map(|point| point.lag).max();
            let behind = within.map(|point| point.behind).max();
            if let (Some(lag), Some(behind)) = (lag, behind) {
                rows.push(Minute {
                    ago: match minute {
                        0 => "the last minute".to_owned(),
                        1 => "1 minute ago".to_owned(),
                        _ => format!("{minute} minutes ago"),
                    },
                    lag: short(lag),
                    behind,
                });
            }
        }
        Self { rows }
    }
}

/// The top of a chart that shows `worst`.
fn scale(worst: Duration) -> Duration {
    let fits = |top: &Duration| worst <= *top;
    let mut scales = SCALES_MS.into_iter().map(Duration::from_millis);
    scales.find(fits).unwrap_or(worst)
}

/// The outline of `span` and what is under it, as the commands of two paths. Where nothing was
/// measured there is no line.
fn curve(points: &[Point], now: Duration, span: Duration, top: Duration) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let x = |at: Duration| span.as_secs_f64() - now.saturating_sub(at).as_secs_f64();
    let y = |lag: Duration| HEIGHT - HEIGHT * (lag.as_secs_f64() / top.as_secs_f64());
    // Writing into a text cannot fail.
    for stretch in points.chunk_by(|one, next| next.from <= one.from + 2 * POINT) {
        let mut first = None;
        let mut last = 0.0;
        for point in stretch {
            let (from, to) = (x(point.from).max(0.0), x((point.from + POINT).min(now)));
            let height = y(point.lag);
            let command = if first.is_none() { 'M' } else { 'L' };
            let _ = write!(line, "{command}{from:.1} {height:.1}L{to:.1} {height:.1}");
            match first {
                None => {
                    first = Some(from);
                    let _ = write!(area, "M{from:.1} {HEIGHT:.0}L{from:.1} {height:.1}");
                }
                Some(_) => {
                    let _ = write!(area, "L{from:.1} {height:.1}");
                }
            }
            let _ = write!(area, "L{to:.1} {height:.1}");
            last = to;
        }
        let _ = write!(area, "L{last:.1} {HEIGHT:.0}Z");
    }
    (line, area)
}

fn summary(points: &[Point], now: Duration, clock: SystemTime) -> String {
    let Some(worst) = points.iter().max_by_key(|point| point.lag) else {
        return "Nothing was measured yet.".to_owned();
    };
    if worst.lag.is_zero() {
        return "Nothing had to wait whenever it was measured.".to_owned();
    }
    let at = clock.checked_sub(now.saturating_sub(worst.from));
    let at = When::of(at.unwrap_or(clock));
    format!(
        "The highest was {} at {}, with {} that {} not durable.",
        short(worst.lag),
        at.clock(),
        counted(worst.behind, "transaction", "transactions"),
        if worst.behind == 1 { "was" } else { "were" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(from: u64, lag_ms: u64) -> Point {
        Point {
            from: Duration::from_secs(from),
            lag: Duration::from_millis(lag_ms),
            behind: lag_ms / 100,
        }
    }

    #[test]
    fn the_top_is_the_next_step_that_people_count_in() {
        for (lag, top) in [
            (0, 1_000),
            (1_000, 1_000),
            (1_001, 2_000),
            (61_000, 120_000),
        ] {
            let top = Duration::from_millis(top);
            assert_eq!(scale(Duration::from_millis(lag)), top);
        }
        assert_eq!(scale(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn the_newest_is_at_the_right_and_the_worst_at_the_top() {
        let points = [point(890, 0), point(895, 2_000)];
        let (line, area) = curve(
            &points,
            Duration::from_secs(900),
            KEPT,
            Duration::from_secs(2),
        );
        assert_eq!(line, "M890.0 100.0L895.0 100.0L895.0 0.0L900.0 0.0");
        assert_eq!(
            area,
            "M890.0 100L890.0 100.0L895.0 100.0L895.0 0.0L900.0 0.0L900.0 100Z"
        );
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_line() {
        let points = [point(0, 500), point(60, 500)];
        let (line, area) = curve(
            &points,
            Duration::from_secs(65),
            KEPT,
            Duration::from_secs(1),
        );
        assert_eq!(line, "M835.0 50.0L840.0 50.0M895.0 50.0L900.0 50.0");
        assert_eq!(area.matches('Z').count(), 2);
        assert_eq!(
            curve(&[], Duration::ZERO, KEPT, Duration::from_secs(1)),
            <_>::default()
        );
    }

    #[test]
    fn a_point_that_is_about_to_go_does_not_leave_the_picture() {
        let now = Duration::from_secs(904);
        let (line, _) = curve(&[point(0, 0)], now, KEPT, Duration::from_secs(1));
        assert_eq!(line, "M0.0 100.0L1.0 100.0");
    }

    #[test]
    fn the_first_minutes_are_shown_larger() {
        let minutes = |now| {
            let (now, clock) = (Duration::from_secs(now), SystemTime::UNIX_EPOCH);
            Chart::new(String::new(), String::new(), &[point(5, 0)], now, clock).minutes
        };
        assert_eq!(minutes(5), [3, 2, 1]);
        assert_eq!(minutes(184), [3, 2, 1]);
        assert_eq!(minutes(185), [15, 10, 5]);
    }

    #[test]
    fn the_summary_names_the_worst_and_its_time() {
        let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let now = Duration::from_secs(100);
        let points = [point(0, 100), point(40, 300), point(95, 0)];
        assert_eq!(
            summary(&points, now, clock),
            "The highest was 300 ms at 00:15:40 UTC, with 3 transactions that were not durable."
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_minute_that_was_measured() {
        let points = [point(0, 100), point(10, 300), point(125, 0)];
        let row = |ago: &str, lag: &str, behind| Minute {
            ago: ago.to_owned(),
            lag: lag.to_owned(),
            behind,
        };
        let rows = Minutes::new(&points, Duration::from_secs(130)).rows;
        assert_eq!(
            rows,
            [
                row("the last minute", "0 ms", 0),
                row("2 minutes ago", "300 ms", 3)
            ]
        );
    }
}
