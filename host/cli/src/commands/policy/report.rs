//! Simulated times, side by side.

use std::io::stdout;

use anyhow::{Context, Result};
use lockkeeper::policy::Component;
use lockkeeper::policy::simulation::{Prices, Report};
use serde_json::{Value, json};

use crate::text::{self, Table};

/// Billionths of a dollar.
const DOLLAR: f64 = 1e9;

/// What the store bills, in dollars.
#[derive(clap::Args)]
pub(super) struct PriceArgs {
    /// A thousand uploads, parts of uploads, or listings
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.005)]
    price_put: f64,
    /// A thousand downloads
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.0004)]
    price_get: f64,
    /// A gigabyte for a month
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.023)]
    price_storage: f64,
    /// A gigabyte that leaves the store
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.0)]
    price_egress: f64,
}

impl PriceArgs {
    pub(super) fn prices(&self) -> Prices {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the conversion saturates, and nobody pays less than nothing"
        )]
        let billionths = |dollars: f64| (dollars * DOLLAR).round() as u64;
        Prices {
            put: billionths(self.price_put / 1000.0),
            get: billionths(self.price_get / 1000.0),
            gigabyte_month: billionths(self.price_storage),
            gigabyte_out: billionths(self.price_egress),
        }
    }
}

/// A line of the comparison: what it says, and the value for each component.
type Line = (&'static str, fn(&Report) -> String);

const LINES: &[Line] = &[
    ("commits", |it| it.commits.to_string()),
    ("syncs", |it| it.seals.to_string()),
    ("checkpoints", |it| it.checkpoints.to_string()),
    ("snapshots", |it| it.snapshots.to_string()),
    ("merges", |it| it.merges.to_string()),
    ("verifications", |it| it.verifications.to_string()),
    ("deletions", |it| it.deletions.to_string()),
    ("PUT requests", |it| it.requests.puts.to_string()),
    ("GET requests", |it| it.requests.gets.to_string()),
    ("LIST requests", |it| it.requests.lists.to_string()),
    ("DELETE requests", |it| it.requests.deletes.to_string()),
    ("uploaded", |it| text::bytes(it.uploaded_bytes)),
    ("downloaded", |it| text::bytes(it.downloaded_bytes)),
    ("stored at the end", |it| {
        text::bytes(
            it.stored_bytes
                .last()
                .copied()
                .unwrap_or(it.stored_bytes_max),
        )
    }),
    ("stored at most", |it| text::bytes(it.stored_bytes_max)),
    ("worst RPO", |it| span(it.rpo_worst_ms)),
    ("worst RPO, store up", |it| span(it.rpo_worst_online_ms)),
    ("worst restore", |it| span(it.restore_worst_ms)),
    ("window at the end", |it| span(it.window_ms)),
    ("hours unrestorable", |it| it.unrestorable.to_string()),
    ("decisions", |it| it.calls.to_string()),
    ("without an answer", |it| it.failures.to_string()),
    ("changed by the guard", |it| {
        it.clamps.values().sum::<u64>().to_string()
    }),
];

/// Prints the reports of components beside each other.
pub(super) fn print(all: &[(&Component, Report)], prices: &Prices, as_json: bool) -> Result<()> {
    if as_json {
        let all: Value = all
            .iter()
            .map(|(component, it)| value(component, it, prices))
            .collect();
        return text::print_json(&all);
    }
    let heads = all.iter().map(|(component, _)| component.name());
    let heads: Vec<&str> = std::iter::once("").chain(heads).collect();
    let mut table = Table::new(&heads);
    for (name, of) in LINES {
        let cells = all.iter().map(|(_, report)| of(report));
        table.row(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    let costs = all
        .iter()
        .map(|(_, report)| format!("${:.4}", dollars(report, prices)));
    table.row(std::iter::once("cost".to_owned()).chain(costs).collect());
    table.write(&mut stdout().lock()).context("cannot print")
}

fn value(component: &Component, report: &Report, prices: &Prices) -> Value {
    json!({
        "name": component.name(),
        "sha256": component.digest(),
        "duration_ms": report.duration_ms,
        "commits": report.commits,
        "syncs": report.seals,
        "checkpoints": report.checkpoints,
        "snapshots": report.snapshots,
        "merges": report.merges,
        "verifications": report.verifications,
        "deletions": report.deletions,
        "requests": {
            "put": report.requests.puts,
            "get": report.requests.gets,
            "list": report.requests.lists,
            "delete": report.requests.deletes,
        },
        "uploaded_bytes": report.uploaded_bytes,
        "downloaded_bytes": report.downloaded_bytes,
        "stored_bytes_by_day": report.stored_bytes,
        "stored_bytes_max": report.stored_bytes_max,
        "rpo_worst_ms": report.rpo_worst_ms,
        "rpo_worst_online_ms": report.rpo_worst_online_ms,
        "restore_worst_ms": report.restore_worst_ms,
        "window_ms": report.window_ms,
        "unrestorable_hours": report.unrestorable,
        "decisions": report.calls,
        "failures": report.failures,
        "clamps": report.clamps,
        "cost_dollars": dollars(report, prices),
    })
}

#[expect(clippy::cast_precision_loss, reason = "cents are shown")]
fn dollars(report: &Report, prices: &Prices) -> f64 {
    report.cost(prices) as f64 / DOLLAR
}

fn span(ms: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(rounded(ms))).to_string()
}

/// Two words are enough for people.
fn rounded(ms: u64) -> u64 {
    const SECOND: u64 = 1000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    let unit = match ms {
        0..MINUTE => 1,
        MINUTE..HOUR => SECOND,
        _ => MINUTE,
    };
    ms / unit * unit
}
