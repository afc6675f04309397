//! What came of a simulated time, and what it costs.

use std::collections::BTreeMap;

const GIGABYTE: u128 = 1_000_000_000;
/// Hours of the month for which storage is paid.
const MONTH_HOURS: u128 = 730;

/// Requests by class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Requests {
    /// Uploads, and parts of uploads.
    pub puts: u64,
    /// Downloads.
    pub gets: u64,
    /// Listings.
    pub lists: u64,
    /// Requests that delete, each up to a thousand files.
    pub deletes: u64,
}

/// What requests and bytes cost, in billionths of a dollar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prices {
    /// One upload, part of an upload, or listing.
    pub put: u64,
    /// One download.
    pub get: u64,
    /// A gigabyte (10⁹ bytes) for a month.
    pub gigabyte_month: u64,
    /// A gigabyte that leaves the store.
    pub gigabyte_out: u64,
}

impl Default for Prices {
    /// Those of S3 Standard in the region us-east-1 for whoever runs there.
    fn default() -> Self {
        Self {
            put: 5_000,
            get: 400,
            gigabyte_month: 23_000_000,
            gigabyte_out: 0,
        }
    }
}

/// What came of a simulated time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How long it was.
    pub duration_ms: u64,
    /// Commits of the application.
    pub commits: u64,
    /// Files that they were sealed into.
    pub seals: u64,
    /// Checkpoints that were run; each seals a small file of its own.
    pub checkpoints: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Merges that were made.
    pub merges: u64,
    /// Times the replica was proven.
    pub verifications: u64,
    /// Files that were deleted.
    pub deletions: u64,
    /// Requests to the store.
    pub requests: Requests,
    /// Bytes that were sent to it.
    pub uploaded_bytes: u64,
    /// Bytes that were read from it.
    pub downloaded_bytes: u64,
    /// What it held at the end of each day.
    pub stored_bytes: Vec<u64>,
    /// The most it held.
    pub stored_bytes_max: u64,
    /// What it held over time, in byte-hours.
    pub stored_byte_hours: u128,
    /// The longest that a commit was not durable: what a lost machine loses.
    pub rpo_worst_ms: u64,
    /// The same, for commits that no outage of the store kept waiting.
    pub rpo_worst_online_ms: u64,
    /// The longest that a restore of the newest transaction would have taken.
    pub restore_worst_ms: u64,
    /// How far back restores reached at the end.
    pub window_ms: u64,
    /// Hours in which a restore was impossible. More than 0 is a defect of the host.
    pub unrestorable: u64,
    /// Decisions the policy was asked for.
    pub calls: u64,
    /// How many of them it did not answer.
    pub failures: u64,
    /// What the guard changed or refused, by reason code.
    pub clamps: BTreeMap<&'static str, u64>,
}

impl Report {
    /// What the store bills, in billionths of a dollar.
    #[must_use]
    pub fn cost(&self, prices: &Prices) -> u128 {
        let Requests {
            puts, gets, lists, ..
        } = self.requests;
        let writes = u128::from(puts.saturating_add(lists)) * u128::from(prices.put);
        let reads = u128::from(gets) * u128::from(prices.get);
        let month = u128::from(prices.gigabyte_month);
        let stored = self.stored_byte_hours * month / GIGABYTE / MONTH_HOURS;
        let out = u128::from(self.downloaded_bytes) * u128::from(prices.gigabyte_out) / GIGABYTE;
        writes + reads + stored + out
    }
}
