//! The sandbox from inside the crate: what hostile components can do, and what decides then.

mod embedded;
mod hostile;
mod refused;

use std::io::Write;
use std::sync::{Arc, Mutex};

use lockkeeper_core::policy::{CheckpointFacts, SnapshotFacts, SyncFacts};

/// Facts for which the built-in rules wait 700 ms.
fn sync_facts() -> SyncFacts {
    SyncFacts {
        since_last_sync_ms: Some(300),
        sync_interval_ms: 1000,
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

/// Facts for which the built-in rules take a snapshot.
fn snapshot_facts() -> SnapshotFacts {
    SnapshotFacts {
        durable: 1,
        ..SnapshotFacts::default()
    }
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
