//! Between the records of `wit/policy.wit` and our own.

use lockkeeper_core::compaction::MERGE_INPUTS_MAX;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::policy::{
    self as core, Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal,
    Event, Hold, HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts,
    VerificationFacts,
};
use lockkeeper_core::text::printable;
use lockkeeper_ltx::{Level, Txid, TxidRange};

use super::Readable;
use super::v0_2::types as wit;
use crate::policy::plan::{
    DatabasePlan, Diagnostic, Plan, Position, ReplicaPlan, Setting, Severity, Value,
};
use crate::secret::Secret;

/// The most diagnostics that are kept.
const DIAGNOSTICS_MAX: usize = 200;
/// The longest text of a diagnostic, in characters.
const TEXT_CHARS_MAX: usize = 1000;

pub(super) fn context(replica_kinds: &[&str]) -> wit::Context {
    wit::Context {
        replica_kinds: replica_kinds.iter().map(|&kind| kind.to_owned()).collect(),
    }
}

pub(super) fn sync_facts(facts: &SyncFacts) -> wit::SyncFacts {
    wit::SyncFacts {
        now: facts.now_ms,
        marks: wit::Watermarks {
            committed: facts.committed,
            spooled: facts.spooled,
            durable: facts.durable,
        },
        pending_bytes: facts.pending_bytes,
        unsent_transactions: facts.unsent_transactions,
        oldest_pending_age: facts.oldest_pending_age_ms,
        since_last_sync: facts.since_last_sync_ms,
        last_put_latency: facts.last_put_latency_ms,
        consecutive_failures: facts.consecutive_failures,
        sync_interval: facts.sync_interval_ms,
        budget_left: facts.budget_left,
    }
}

pub(super) fn checkpoint_facts(facts: &CheckpointFacts) -> wit::CheckpointFacts {
    wit::CheckpointFacts {
        now: facts.now_ms,
        wal_pages: facts.wal_pages,
        since_last_checkpoint: facts.since_last_checkpoint_ms,
        written_since_last_checkpoint: facts.written_since_last_checkpoint,
        snapshot_running: facts.snapshot_running,
        writer_idle: facts.writer_idle_ms,
        oldest_reader_age: facts.oldest_reader_age_ms,
        min_checkpoint_pages: facts.min_checkpoint_pages,
        truncate_pages: facts.truncate_pages,
        checkpoint_interval: facts.checkpoint_interval_ms,
        budget_left: facts.budget_left,
    }
}

pub(super) fn checkpoint_proposal(proposal: wit::CheckpointProposal) -> CheckpointProposal {
    match proposal {
        wit::CheckpointProposal::None => CheckpointProposal::None,
        wit::CheckpointProposal::Passive => CheckpointProposal::Passive,
        wit::CheckpointProposal::Truncate => CheckpointProposal::Truncate,
    }
}

pub(super) fn snapshot_facts(facts: &SnapshotFacts) -> wit::SnapshotFacts {
    let mut snapshots = facts.snapshots.clone();
    snapshots.sort_by_key(|file| file.name.range().max());
    wit::SnapshotFacts {
        now: facts.now_ms,
        database_bytes: facts.database_bytes,
        marks: wit::Watermarks {
            committed: facts.committed,
            spooled: facts.spooled,
            durable: facts.durable,
        },
        snapshots: snapshots.iter().map(file).collect(),
        snapshot_interval: facts.snapshot_interval_ms,
        budget_left: facts.budget_left,
    }
}

pub(super) fn verification_facts(facts: &VerificationFacts) -> wit::VerificationFacts {
    wit::VerificationFacts {
        now: facts.now_ms,
        marks: wit::Watermarks {
            committed: facts.spooled,
            spooled: facts.spooled,
            durable: facts.durable,
        },
        verified: facts.verified,
        since_last_verification: facts.since_last_verification_ms,
        validation_interval: facts.validation_interval_ms,
        budget_left: facts.budget_left,
    }
}

pub(super) fn compaction_facts(facts: &CompactionFacts) -> wit::CompactionFacts {
    let levels = facts.levels.iter().map(|level| wit::LevelFacts {
        level: level.level.get(),
        interval: level.interval_ms.get(),
        newest: level.newest.as_ref().map(file),
        waiting: level.waiting.files.iter().map(file).collect(),
        ends_at_gap: level.waiting.gap.is_some(),
    });
    wit::CompactionFacts {
        now: facts.now_ms,
        levels: levels.collect(),
        inputs_max: u32::try_from(MERGE_INPUTS_MAX).unwrap_or(u32::MAX),
        budget_left: facts.budget_left,
    }
}

/// The proposals up to the first one that cannot be meant: those after it build on it.
pub(super) fn compaction_proposals(
    from: Vec<wit::CompactionProposal>,
) -> Readable<CompactionProposal> {
    let count = from.len();
    let proposal = |it: wit::CompactionProposal| {
        Some(CompactionProposal {
            level: Level::new(it.level)?,
            range: range(it.min_txid, it.max_txid)?,
            reason: printable(&it.reason, TEXT_CHARS_MAX),
        })
    };
    let items: Vec<_> = from.into_iter().map_while(proposal).collect();
    let unreadable = count.saturating_sub(items.len());
    Readable { items, unreadable }
}

pub(super) fn retention_facts(facts: &RetentionFacts) -> wit::RetentionFacts {
    let files = facts.files.iter().map(|held| wit::HeldFile {
        file: file(&held.file),
        needed: held.need.map(|need| need.code().to_owned()),
    });
    wit::RetentionFacts {
        now: facts.now_ms,
        snapshot_retention: facts.window.snapshot_retention_ms,
        l0_retention: facts.window.l0_retention_ms,
        files: files.collect(),
    }
}

pub(super) fn keeps(from: Vec<wit::Keep>) -> Readable<Keep> {
    let count = from.len();
    let keep = |it: wit::Keep| {
        Some(Keep {
            level: Level::new(it.level)?,
            range: range(it.min_txid, it.max_txid)?,
            reason: printable(&it.reason, TEXT_CHARS_MAX),
        })
    };
    let items: Vec<_> = from.into_iter().filter_map(keep).collect();
    let unreadable = count.saturating_sub(items.len());
    Readable { items, unreadable }
}

pub(super) fn hold_facts(facts: &HoldFacts) -> wit::HoldFacts {
    wit::HoldFacts {
        now: facts.now_ms,
        database: facts.database.clone(),
        snapshot_retention: facts.snapshot_retention_ms,
        snapshots: facts.snapshots.iter().map(file).collect(),
    }
}

pub(super) fn hold(from: wit::Hold) -> Hold {
    Hold {
        at_ms: from.at,
        reason: from.reason,
    }
}

pub(super) fn restore_facts(facts: &RestoreFacts) -> wit::RestoreFacts {
    wit::RestoreFacts {
        now: facts.now_ms,
        action: facts.action.name().to_owned(),
        database: facts.database.clone(),
        newest_txid: facts.newest_txid,
        newest_created: facts.newest_created_ms,
        other_database: facts.other_database.clone(),
        other_seen: facts.other_seen_ms,
    }
}

pub(super) fn event(event: &Event) -> wit::Event {
    wit::Event {
        now: event.now_ms,
        database: event.database.clone(),
        code: event.code.to_string(),
        begins: event.begins,
        severity: match event.severity {
            core::Severity::Error => wit::Severity::Error,
            core::Severity::Warning => wit::Severity::Warning,
            core::Severity::Note => wit::Severity::Note,
        },
        message: event.message.clone(),
        count: event.count,
        previous: event.previous_ms,
    }
}

pub(super) fn alert(from: wit::Alert) -> Alert {
    Alert {
        severity: match from.severity {
            wit::Severity::Error => core::Severity::Error,
            wit::Severity::Warning => core::Severity::Warning,
            wit::Severity::Note => core::Severity::Note,
        },
        code: from.code,
        message: from.message,
        quiet_for_ms: from.quiet_for,
    }
}

fn range(min: u64, max: u64) -> Option<TxidRange> {
    TxidRange::new(Txid::new(min)?, Txid::new(max)?)
}

fn file(file: &ReplicaFile) -> wit::FileFacts {
    wit::FileFacts {
        level: file.level.get(),
        min_txid: file.name.range().min().get(),
        max_txid: file.name.range().max().get(),
        size_bytes: file.size,
        created: u64::try_from(file.created_ms).unwrap_or(0),
    }
}

pub(super) fn plan(from: wit::Plan) -> Plan {
    Plan {
        databases: from.databases.into_iter().map(database).collect(),
        settings: settings(from.settings),
        diagnostics: diagnostics(from.diagnostics),
    }
}

fn database(from: wit::DatabasePlan) -> DatabasePlan {
    DatabasePlan {
        path: from.path,
        dir: from.dir,
        settings: settings(from.settings),
        replica: ReplicaPlan {
            kind: from.replica.kind,
            settings: settings(from.replica.settings),
        },
    }
}

fn settings(from: Vec<wit::Setting>) -> Vec<Setting> {
    from.into_iter()
        .map(|setting| Setting {
            name: setting.name,
            value: match setting.value {
                wit::Value::Text(text) => Value::Text(text),
                wit::Value::Number(number) => Value::Number(number),
                wit::Value::Flag(flag) => Value::Flag(flag),
                wit::Value::Duration(ms) => Value::Duration(ms),
                wit::Value::Bytes(bytes) => Value::Bytes(bytes),
                wit::Value::Secret(text) => Value::Secret(Secret::new(text)),
            },
        })
        .collect()
}

/// Keeps the first ones, in a form that can be printed.
pub(super) fn diagnostics(from: Vec<wit::Diagnostic>) -> Vec<Diagnostic> {
    let text = |text: String| printable(&text, TEXT_CHARS_MAX);
    from.into_iter()
        .take(DIAGNOSTICS_MAX)
        .map(|found| Diagnostic {
            severity: match found.severity {
                wit::Severity::Error => Severity::Error,
                wit::Severity::Warning => Severity::Warning,
                wit::Severity::Note => Severity::Note,
            },
            code: text(found.code),
            path: text(found.path),
            position: found.position.map(|at| Position {
                line: at.line,
                column: at.column,
            }),
            message: text(found.message),
            help: found.help.map(text),
        })
        .collect()
}
