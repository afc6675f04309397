//! The facts a policy gets, the proposals it makes, and the defaults where it makes none.
//!
//! These mirror `wit/policy.wit`, which defines each field.

/// Facts for a sync decision.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SyncFacts {
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The last committed TXID, counting commits that wait to be sealed as one.
    pub committed: u64,
    /// The last sealed TXID.
    pub spooled: u64,
    /// The last confirmed TXID.
    pub durable: u64,
    /// Age of the oldest commit that waits to be sealed.
    pub oldest_pending_age_ms: u64,
    /// Time since the last seal.
    pub since_last_sync_ms: Option<u64>,
    /// Tasks that wait for durability.
    pub waiters: u32,
    /// How long the last upload took.
    pub last_put_latency_ms: Option<u64>,
    /// Uploads that failed in a row.
    pub consecutive_failures: u32,
    /// As configured.
    pub sync_interval_ms: u64,
}

/// How long to wait before sealing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SyncProposal {
    /// From now, in milliseconds.
    pub wait_ms: u64,
}

/// Facts for a checkpoint decision.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
    /// As configured; 0 if off.
    pub min_checkpoint_pages: u32,
    /// As configured; 0 if off.
    pub truncate_pages: u32,
    /// As configured; 0 if off.
    pub checkpoint_interval_ms: u64,
}

/// Whether to run a checkpoint, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckpointProposal {
    /// Leave the log alone.
    None,
    /// Copy what can be copied without waiting for anybody.
    Passive,
    /// Copy everything and empty the log; waits for readers.
    Truncate,
}

/// Facts for a snapshot decision.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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
    pub snapshots: Vec<crate::inventory::ReplicaFile>,
    /// As configured.
    pub snapshot_interval_ms: u64,
}
