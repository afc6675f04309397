//! The same as the page, for programs: the document of `lockkeeper status -json`, with the lag of
//! the last minutes.

use std::path::PathBuf;

use lockkeeper::control::Report;
use serde::Serialize;

use super::Moment;
use super::lag::{KEPT, POINT, Point};

/// What `GET /api/replication` answers.
#[derive(Serialize)]
pub(crate) struct Document {
    /// As RFC 3339 writes times.
    at: String,
    /// `None` before replication was started and after it was stopped.
    replication: Option<Report>,
    lag: Lag,
}

#[derive(Serialize)]
struct Lag {
    /// What one point stands for.
    point_ms: u128,
    /// For how long points are kept.
    kept_ms: u128,
    databases: Vec<Series>,
}

#[derive(Serialize)]
struct Series {
    path: PathBuf,
    /// Oldest first. Where nothing was measured there is none.
    points: Vec<Worst>,
}

/// The worst of one stretch of time.
#[derive(Serialize)]
struct Worst {
    /// How long ago the stretch began.
    age_ms: u128,
    lag_ms: u128,
    behind: u64,
}

impl From<&Moment> for Document {
    fn from(moment: &Moment) -> Self {
        let report = moment.status.as_ref().map(Report::from);
        let databases = report.iter().flat_map(|report| &report.databases);
        let series = databases.zip(&moment.points);
        let worst = |point: &Point| Worst {
            age_ms: moment.now.saturating_sub(point.from).as_millis(),
            lag_ms: point.lag.as_millis(),
            behind: point.behind,
        };
        Self {
            at: humantime::format_rfc3339_millis(moment.at).to_string(),
            lag: Lag {
                point_ms: POINT.as_millis(),
                kept_ms: KEPT.as_millis(),
                databases: series
                    .filter(|(_, points)| !points.is_empty())
                    .map(|(database, points)| Series {
                        path: database.path.clone(),
                        points: points.iter().map(worst).collect(),
                    })
                    .collect(),
            },
            replication: report,
        }
    }
}
