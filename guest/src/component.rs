//! The exports of the component, and the little a bare wasm module needs to stand alone.
//!
//! Without `std`, the component imports nothing: no clock, no randomness, no output streams.
#![allow(unsafe_code, reason = "the component ABI passes raw pointers")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::too_many_arguments,
    reason = "generated code"
)]

use alloc::alloc::{Layout, alloc, realloc};
use alloc::string::String;
use alloc::vec::Vec;

use crate::{decide, plan, validate};

wit_bindgen::generate!({ path: "../wit", world: "policy" });

use lockkeeper::policy::types;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

// `memcmp` and its like, which the compiler assumes.
#[link(name = "c")]
unsafe extern "C" {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Called by the host to place arguments.
///
/// # Safety
///
/// `old` must be null or come from here with `old_len` and `align`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_len: usize,
    align: usize,
    new_len: usize,
) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(if old_len == 0 { new_len } else { old_len }, align)
    else {
        core::arch::wasm32::unreachable()
    };
    if new_len == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    // SAFETY: `new_len` is not zero, and by contract `old` was allocated with this layout.
    let placed = unsafe {
        if old_len == 0 {
            alloc(layout)
        } else {
            realloc(old, layout, new_len)
        }
    };
    if placed.is_null() {
        core::arch::wasm32::unreachable()
    }
    placed
}

struct Policy;

export!(Policy);

impl Guest for Policy {
    fn metadata() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            needs: Vec::new(),
        }
    }

    fn validate(source: String, context: Context) -> Result<Plan, Vec<Diagnostic>> {
        match validate::validate(&source, &context.replica_kinds) {
            Ok(plan) => Ok(Plan {
                databases: plan.databases.into_iter().map(database).collect(),
                settings: settings(plan.settings),
                diagnostics: plan.diagnostics.into_iter().map(diagnostic).collect(),
            }),
            Err(found) => Err(found.into_iter().map(diagnostic).collect()),
        }
    }

    fn plan_sync(facts: SyncFacts) -> SyncProposal {
        let wait = decide::plan_sync(&decide::SyncFacts {
            since_last_sync: facts.since_last_sync,
            sync_interval: facts.sync_interval,
        });
        SyncProposal { wait }
    }

    fn plan_checkpoint(facts: CheckpointFacts) -> CheckpointProposal {
        match decide::plan_checkpoint(&decide::CheckpointFacts {
            wal_pages: facts.wal_pages,
            since_last_checkpoint: facts.since_last_checkpoint,
            written_since_last_checkpoint: facts.written_since_last_checkpoint,
            snapshot_running: facts.snapshot_running,
            min_checkpoint_pages: facts.min_checkpoint_pages,
            truncate_pages: facts.truncate_pages,
            checkpoint_interval: facts.checkpoint_interval,
        }) {
            decide::Checkpoint::None => CheckpointProposal::None,
            decide::Checkpoint::Passive => CheckpointProposal::Passive,
            decide::Checkpoint::Truncate => CheckpointProposal::Truncate,
        }
    }

    fn plan_snapshot(facts: SnapshotFacts) -> Option<String> {
        decide::plan_snapshot(&decide::SnapshotFacts {
            now: facts.now,
            durable: facts.marks.durable,
            newest: facts.snapshots.last().map(|file| decide::Snapshot {
                max_txid: file.max_txid,
                created: file.created,
            }),
            snapshot_interval: facts.snapshot_interval,
        })
    }

    fn plan_verification(facts: VerificationFacts) -> Option<String> {
        decide::plan_verification(&decide::VerificationFacts {
            durable: facts.marks.durable,
            verified: facts.verified,
            since_last_verification: facts.since_last_verification,
            validation_interval: facts.validation_interval,
        })
        .map(String::from)
    }

    fn plan_compaction(facts: CompactionFacts) -> Vec<CompactionProposal> {
        let level = |level: types::LevelFacts| decide::Level {
            level: level.level,
            interval: level.interval,
            newest: level.newest.as_ref().map(file),
            waiting: level.waiting.iter().map(file).collect(),
            ends_at_gap: level.ends_at_gap,
        };
        let merges = decide::plan_compaction(&decide::CompactionFacts {
            now: facts.now,
            levels: facts.levels.into_iter().map(level).collect(),
            inputs_max: facts.inputs_max,
        });
        let proposal = |merge: decide::Merge| CompactionProposal {
            level: merge.level,
            min_txid: merge.min_txid,
            max_txid: merge.max_txid,
            reason: merge.reason,
        };
        merges.into_iter().map(proposal).collect()
    }

    fn plan_retention(facts: RetentionFacts) -> Vec<Keep> {
        let held = |held: types::HeldFile| decide::Held {
            file: file(&held.file),
            needed: held.needed,
        };
        let keeps = decide::plan_retention(&decide::RetentionFacts {
            now: facts.now,
            l0_retention: facts.l0_retention,
            files: facts.files.into_iter().map(held).collect(),
        });
        let keep = |keep: decide::Keep| Keep {
            level: keep.level,
            min_txid: keep.min_txid,
            max_txid: keep.max_txid,
            reason: keep.reason,
        };
        keeps.into_iter().map(keep).collect()
    }

    fn plan_holds(_facts: HoldFacts) -> Vec<Hold> {
        Vec::new()
    }

    fn approve_restore(_facts: RestoreFacts) -> Result<(), String> {
        Ok(())
    }

    fn on_event(event: Event) -> Vec<Alert> {
        let alerts = decide::on_event(decide::Event {
            code: event.code,
            begins: event.begins,
            severity: match event.severity {
                Severity::Error => plan::Severity::Error,
                Severity::Warning => plan::Severity::Warning,
                Severity::Note => plan::Severity::Note,
            },
            message: event.message,
        });
        let alert = |alert: decide::Alert| Alert {
            severity: severity(alert.severity),
            code: alert.code,
            message: alert.message,
            quiet_for: alert.quiet_for,
        };
        alerts.into_iter().map(alert).collect()
    }
}

fn severity(from: plan::Severity) -> Severity {
    match from {
        plan::Severity::Error => Severity::Error,
        plan::Severity::Warning => Severity::Warning,
        plan::Severity::Note => Severity::Note,
    }
}

fn file(from: &types::FileFacts) -> decide::File {
    decide::File {
        level: from.level,
        min_txid: from.min_txid,
        max_txid: from.max_txid,
        created: from.created,
    }
}

fn database(from: plan::Database) -> types::DatabasePlan {
    types::DatabasePlan {
        path: from.path,
        dir: from.dir,
        settings: settings(from.settings),
        replica: types::ReplicaPlan {
            kind: from.replica.kind,
            settings: settings(from.replica.settings),
        },
    }
}

fn settings(from: Vec<plan::Setting>) -> Vec<types::Setting> {
    let value = |value| match value {
        plan::Value::Text(text) => types::Value::Text(text),
        plan::Value::Number(number) => types::Value::Number(number),
        plan::Value::Flag(flag) => types::Value::Flag(flag),
        plan::Value::Duration(ms) => types::Value::Duration(ms),
        plan::Value::Bytes(bytes) => types::Value::Bytes(bytes),
        plan::Value::Secret(text) => types::Value::Secret(text),
    };
    from.into_iter()
        .map(|it| types::Setting {
            name: it.name,
            value: value(it.value),
        })
        .collect()
}

fn diagnostic(from: plan::Diagnostic) -> Diagnostic {
    Diagnostic {
        severity: severity(from.severity),
        code: from.code.into(),
        path: from.path,
        position: from.position.map(|at| types::Position {
            line: at.line,
            column: at.column,
        }),
        message: from.message,
        help: from.help,
    }
}
