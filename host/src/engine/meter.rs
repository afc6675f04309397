//! What is counted and measured of one database, through the `metrics` crate.
//!
//! Without a recorder of the application all of it costs next to nothing and goes nowhere.

use std::path::Path;
use std::time::Duration;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::Txid;
use metrics::{SharedString, counter, gauge, histogram};

use super::status::{DatabaseState, DatabaseStatus};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often which value was seen.
    Histogram,
}

/// A metric that is emitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// The labels it has.
    pub labels: &'static [&'static str],
    /// What it says, in Markdown, and in which unit.
    pub help: &'static str,
}

const SPOOLED: &str = "lockkeeper_spooled_txid";
const DURABLE: &str = "lockkeeper_durable_txid";
const LAG: &str = "lockkeeper_lag_seconds";
const LOG: &str = "lockkeeper_log_bytes";
const HEALTHY: &str = "lockkeeper_healthy";
const SEALED: &str = "lockkeeper_sealed_files_total";
const SENT_FILES: &str = "lockkeeper_sent_files_total";
const SENT_BYTES: &str = "lockkeeper_sent_bytes_total";
const SEND: &str = "lockkeeper_send_seconds";
const FAILED: &str = "lockkeeper_failed_sends_total";
const DELETED: &str = "lockkeeper_deleted_files_total";
const HELD: &str = "lockkeeper_write_lock_seconds";
const VERIFIED: &str = "lockkeeper_verifications_total";

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric that is emitted, as `docs/metrics.md` has it.
#[rustfmt::skip]
pub const METRICS: &[Metric] = {
    use MetricKind::{Counter, Gauge, Histogram};
    &[
        metric(HEALTHY, Gauge, &["database"], "1 if nothing is known that keeps commits from being safe, else 0. Alert on 0."),
        metric(LAG, Gauge, &["database"], "The age of the oldest commit that is not durable, in seconds. Alert when it stays above a minute."),
        metric(LOG, Gauge, &["database"], "The bytes of the write-ahead log that hold committed transactions."),
        metric(SPOOLED, Gauge, &["database"], "The last transaction in a sealed local file."),
        metric(DURABLE, Gauge, &["database"], "The last transaction the replica confirmed, with all before it."),
        metric(SEALED, Counter, &["database"], "Local files that were sealed."),
        metric(SENT_FILES, Counter, &["database", "level"], "Files that the replica confirmed; level 9 are snapshots."),
        metric(SENT_BYTES, Counter, &["database", "level"], "The bytes of these files."),
        metric(SEND, Histogram, &["database"], "How long the replica took to confirm a transaction, in seconds."),
        metric(FAILED, Counter, &["database"], "Attempts to reach the replica that failed and are made again."),
        metric(DELETED, Counter, &["database"], "Files that retention deleted from the replica."),
        metric(HELD, Histogram, &["database"], "How long a checkpoint kept other writers out, in seconds."),
        metric(VERIFIED, Counter, &["database", "outcome"], "Verifications; the outcome is `proven`, `failed` or `unknown`."),
    ]
};

/// Emits what happens to one database.
#[derive(Debug)]
pub(super) struct Meter(SharedString);

impl Meter {
    pub(super) fn new(database: &Path) -> Self {
        Self(database.display().to_string().into())
    }

    fn database(&self) -> SharedString {
        self.0.clone()
    }

    pub(super) fn sealed(&self, txid: Txid) {
        counter!(SEALED, "database" => self.database()).increment(1);
        gauge!(SPOOLED, "database" => self.database()).set(number(txid));
    }

    pub(super) fn durable(&self, txid: Option<Txid>) {
        gauge!(DURABLE, "database" => self.database()).set(txid.map_or(0.0, number));
    }

    pub(super) fn confirmed(&self, took: Duration) {
        histogram!(SEND, "database" => self.database()).record(took);
    }

    pub(super) fn sent(&self, file: &ReplicaFile) {
        let level = file.level.to_string();
        let labels = [("database", self.database()), ("level", level.into())];
        counter!(SENT_FILES, &labels).increment(1);
        counter!(SENT_BYTES, &labels).increment(file.size);
    }

    pub(super) fn failed(&self) {
        counter!(FAILED, "database" => self.database()).increment(1);
    }

    pub(super) fn deleted(&self, files: usize) {
        counter!(DELETED, "database" => self.database()).increment(files as u64);
    }

    pub(super) fn write_lock_held(&self, held: Duration) {
        histogram!(HELD, "database" => self.database()).record(held);
    }

    pub(super) fn verified(&self, outcome: &'static str) {
        counter!(VERIFIED, "database" => self.database(), "outcome" => outcome).increment(1);
    }

    /// What has to be looked at, because nothing happens when it changes.
    pub(super) fn look(&self, status: &DatabaseStatus) {
        let is_healthy = status.problems().is_empty() && status.state != DatabaseState::Starting;
        gauge!(HEALTHY, "database" => self.database()).set(f64::from(u8::from(is_healthy)));
        gauge!(LAG, "database" => self.database()).set(status.lag().as_secs_f64());
        gauge!(LOG, "database" => self.database()).set(status.log_bytes as f64);
    }

    /// It is replicated no more: what was measured last says nothing now.
    pub(super) fn gone(&self) {
        for name in [HEALTHY, LAG, LOG, SPOOLED, DURABLE] {
            gauge!(name, "database" => self.database()).set(f64::NAN);
        }
    }
}

fn number(txid: Txid) -> f64 {
    txid.get() as f64
}
