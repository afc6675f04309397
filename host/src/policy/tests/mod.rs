//! The sandbox from inside the crate: what hostile components can do, and what decides then.

mod answers;
mod corpus;
mod embedded;
mod hostile;
mod refused;
mod swapped;
mod versions;

use std::io::Write;
use std::sync::{Arc, Mutex};

use lockkeeper_core::guard::alerts::Admitted;
use lockkeeper_core::guard::deletions::{Deletions, Review, Situation};
use lockkeeper_core::guard::holds::Holds;
use lockkeeper_core::inventory::{Inventory, ReplicaFile};
use lockkeeper_core::levels::Levels;
use lockkeeper_core::live_set::Window;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, Event, HoldFacts, RestoreFacts,
    SnapshotFacts, SyncFacts, VerificationFacts,
};
use lockkeeper_core::{compaction, fallback};
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use super::Policy;

/// Facts for which the built-in rules wait 700 ms.
fn sync_facts() -> SyncFacts {
    SyncFacts {
        since_last_sync_ms: Some(300),
        sync_interval_ms: 1000,
        budget_left: 10,
        ..SyncFacts::default()
    }
}

/// Facts for which the built-in rules run a passive checkpoint.
fn checkpoint_facts() -> CheckpointFacts {
    CheckpointFacts {
        wal_pages: 1000,
        min_checkpoint_pages: 1000,
        ..CheckpointFacts::default()
    }
}

/// Facts for which the built-in rule verifies.
fn verification_facts() -> VerificationFacts {
    VerificationFacts {
        durable: 2,
        verified: 1,
        since_last_verification_ms: 2000,
        validation_interval_ms: 2000,
        ..VerificationFacts::default()
    }
}

/// Facts for which the built-in rules take a snapshot.
fn snapshot_facts() -> SnapshotFacts {
    SnapshotFacts {
        durable: 1,
        ..SnapshotFacts::default()
    }
}

/// A replica in which the built-in rules merge TXID 2 and 3 into level 1, and let the first of two
/// snapshots go.
fn inventory() -> Inventory {
    let txid = |n| Txid::new(n).unwrap();
    let file = |level, min, max, created_ms| ReplicaFile {
        level: Level::new(level).unwrap(),
        name: FileName::new(TxidRange::new(txid(min), txid(max)).unwrap()),
        size: 200,
        created_ms,
    };
    Inventory::new(vec![
        file(9, 1, 1, 1_000),
        file(0, 2, 2, 1_500),
        file(0, 3, 3, 1_600),
        file(9, 1, 3, 1_700),
    ])
}

fn compaction_facts() -> CompactionFacts {
    let levels = Levels::new(&[1_000]).unwrap();
    compaction::facts(&inventory(), &levels, 3_000)
}

fn situation(inventory: &Inventory) -> Situation<'_> {
    Situation {
        inventory,
        now_ms: 3_000,
        window: Window {
            snapshot_retention_ms: 1_000,
            l0_retention_ms: 0,
        },
        enabled: true,
        verification_failed: false,
    }
}

fn event() -> Event {
    Event {
        code: "log-held".into(),
        begins: true,
        ..Event::default()
    }
}

/// What a policy wants people to be told, before the guard.
fn alerts(policy: &Policy, event: &Event) -> Vec<Alert> {
    let mut found = Vec::new();
    policy.on_event(event, |alerts| {
        found = alerts;
        Admitted::default()
    });
    found
}

fn deleted(deletions: &Deletions) -> Vec<String> {
    let names = deletions.files.iter().map(|file| file.name.to_string());
    names.collect()
}

/// What is logged during `work`.
fn logged(work: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
