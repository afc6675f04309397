//! The facts a policy gets, the proposals it makes, and the defaults where it makes none.
//!
//! These mirror `wit/policy.wit`, which defines each field. As JSON, fields have their names from
//! here, and what is missing has its default; [`crate::compact`] says how files are written.

use std::borrow::Cow;
use std::num::NonZeroU64;

use lockkeeper_ltx::{Level, TxidRange};
use serde::{Deserialize, Serialize};

use crate::compact::{Held, Named};
use crate::inventory::ReplicaFile;
use crate::live_set::{Need, Window};
use crate::waiting::Waiting;

/// Facts for a sync decision.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SyncFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The last committed TXID, counting commits that wait to be sealed as one.
    pub committed: u64,
    /// The last sealed TXID.
    pub spooled: u64,
    /// The last confirmed TXID.
    pub durable: u64,
    /// The frames of the log that wait to be sealed, in bytes.
    pub pending_bytes: u64,
    /// Sealed transactions that wait to be confirmed.
    pub unsent_transactions: u32,
    /// Age of the oldest commit that waits to be sealed.
    pub oldest_pending_age_ms: u64,
    /// Time since the last seal.
    pub since_last_sync_ms: Option<u64>,
    /// How long the last upload took.
    pub last_put_latency_ms: Option<u64>,
    /// Uploads that failed in a row.
    pub consecutive_failures: u32,
    /// As configured.
    pub sync_interval_ms: u64,
    /// Uploads left in the [budget](crate::guard::budget).
    pub budget_left: u32,
}

/// How long to wait before sealing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SyncProposal {
    /// From now, in milliseconds.
    pub wait_ms: u64,
}

/// Facts for a checkpoint decision.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct CheckpointFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Committed frames that are not yet copied into the database.
    pub wal_pages: u32,
    /// Time since the host's last checkpoint.
    pub since_last_checkpoint_ms: u64,
    /// Whether the application committed since then.
    pub written_since_last_checkpoint: bool,
    /// Whether a snapshot is being read.
    pub snapshot_running: bool,
    /// Time since commits of the application were sealed.
    pub writer_idle_ms: u64,
    /// For how long at least somebody has been reading what the log holds.
    pub oldest_reader_age_ms: Option<u64>,
    /// As configured; 0 if off.
    pub min_checkpoint_pages: u32,
    /// As configured; 0 if off.
    pub truncate_pages: u32,
    /// As configured; 0 if off.
    pub checkpoint_interval_ms: u64,
    /// Uploads left in the [budget](crate::guard::budget).
    pub budget_left: u32,
}

/// Whether to run a checkpoint, and how.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointProposal {
    /// Leave the log alone.
    None,
    /// Copy what can be copied without waiting for anybody.
    Passive,
    /// Copy everything and empty the log; waits for readers.
    Truncate,
}

/// Facts for a snapshot decision.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SnapshotFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Size of the database.
    pub database_bytes: u64,
    /// The last committed TXID, counting commits that wait to be sealed as one.
    pub committed: u64,
    /// The last sealed TXID.
    pub spooled: u64,
    /// The last confirmed TXID.
    pub durable: u64,
    /// The snapshots of the replica, oldest first.
    pub snapshots: Vec<ReplicaFile>,
    /// As configured.
    pub snapshot_interval_ms: u64,
    /// Snapshots left in the [budget](crate::guard::budget).
    pub budget_left: u32,
}

/// Facts for a verification decision.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct VerificationFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The last sealed TXID.
    pub spooled: u64,
    /// The last confirmed TXID.
    pub durable: u64,
    /// The last TXID that was proven to be restorable; 0 if none since the start.
    pub verified: u64,
    /// Time since the last verification, whatever came of it, or since the start.
    pub since_last_verification_ms: u64,
    /// As configured; 0 if turned off.
    pub validation_interval_ms: u64,
    /// Verifications left in the [budget](crate::guard::budget).
    pub budget_left: u32,
}

/// Facts for a compaction decision.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct CompactionFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The configured levels, from level 1 on.
    pub levels: Vec<LevelFacts>,
    /// Merges left in the [budget](crate::guard::budget).
    pub budget_left: u32,
}

/// One compaction level.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LevelFacts {
    /// Its number, from 1 to 8.
    #[serde(with = "crate::compact::level")]
    pub level: Level,
    /// As configured.
    pub interval_ms: NonZeroU64,
    /// Its file that leads furthest.
    pub newest: Option<ReplicaFile>,
    /// The files of the level below that it may merge next.
    pub waiting: Waiting,
}

/// A merge that a policy asks for: the first files that wait for `level`, up to the one that ends
/// at the end of `range`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Named", try_from = "Named")]
pub struct CompactionProposal {
    /// The level to write.
    pub level: Level,
    /// What the merged file is to cover.
    pub range: TxidRange,
    /// Why, for people.
    pub reason: String,
}

/// Facts for a retention decision.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RetentionFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// As configured.
    pub window: Window,
    /// Every file of the replica, by ascending level and name.
    pub files: Vec<HeldFile>,
}

/// A file with what the host says about it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Held", from = "Held")]
pub struct HeldFile {
    /// The file.
    pub file: ReplicaFile,
    /// Why the host will not delete it, whatever is proposed.
    pub need: Option<Need>,
}

/// Files that a policy wants to keep.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "Named", try_from = "Named")]
pub struct Keep {
    /// The level.
    pub level: Level,
    /// Every file that has a transaction in common with this range; of snapshots, the one that ends
    /// where it does.
    pub range: TxidRange,
    /// Why, for people.
    pub reason: String,
}

/// Facts for a decision about holds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct HoldFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The name of the database file.
    pub database: String,
    /// As configured.
    pub snapshot_retention_ms: u64,
    /// The snapshots of the replica, oldest first.
    pub snapshots: Vec<ReplicaFile>,
}

/// A point in time that stays restorable.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hold {
    /// In milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Why, for people.
    pub reason: String,
}

/// What is about to be done with the data of a replica without being told to by a person.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreAction {
    /// A database file that does not exist is restored before replication starts.
    #[default]
    RestoreMissing,
    /// A replica that another writer wrote to is gone on with.
    TakeOver,
}

impl RestoreAction {
    /// As the contract names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RestoreMissing => "restore-missing",
            Self::TakeOver => "take-over",
        }
    }
}

/// Facts for the approval of a restore.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct RestoreFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// What is about to be done.
    pub action: RestoreAction,
    /// The name of the database file.
    pub database: String,
    /// The last TXID that the replica is known to have.
    pub newest_txid: u64,
    /// When that was sealed.
    pub newest_created_ms: Option<u64>,
    /// What another writer calls its database.
    pub other_database: Option<String>,
    /// When the other writer was last heard of.
    pub other_seen_ms: Option<u64>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody must act.
    Error,
    /// Somebody should look.
    Warning,
    /// Worth knowing.
    #[default]
    Note,
}

/// Something that began or ended in the replication of a database.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Event {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The name of the database file.
    pub database: String,
    /// What it is; kebab-case, as the contract lists them.
    pub code: Cow<'static, str>,
    /// Whether it begins.
    pub begins: bool,
    /// How bad the host takes it to be.
    pub severity: Severity,
    /// What the host says about it.
    pub message: String,
    /// How often it began since the start.
    pub count: u32,
    /// When it began the time before.
    pub previous_ms: Option<u64>,
}

/// Something that a person should read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: String,
    /// For people.
    pub message: String,
    /// For how long the same alert is swallowed.
    pub quiet_for_ms: u64,
}
