//! A replica in a folder: what is in it, and what lockkeeper restores from it.

use std::path::{Path, PathBuf};

use lockkeeper::restore::{RestoreOptions, Restored, Target, restore};
use lockkeeper::store::Replica;
use lockkeeper_ltx::{Level, Reader, Txid};

/// What a restored database is called.
pub const RESTORED: &str = "restored.db";

/// One L0 file of a replica.
#[derive(Clone, Debug)]
pub struct Increment {
    /// The transaction that it ends with; an L0 file has one.
    pub txid: Txid,
    /// When it was sealed, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Whether it holds every page of the database.
    pub is_full: bool,
}

/// The L0 files of a replica, oldest first.
pub async fn increments(folder: &Path) -> Vec<Increment> {
    let replica = Replica::file(folder).expect("open the replica");
    let files = replica.list(Level::L0).await.expect("list the replica");
    let increment = |file: &lockkeeper_core::inventory::ReplicaFile| {
        let path = folder.join("ltx/0").join(file.name.to_string());
        Increment {
            txid: file.name.range().max(),
            created_ms: file.created_ms,
            is_full: is_full(&path),
        }
    };
    files.iter().map(increment).collect()
}

/// Fails if the L0 files of a replica do not follow each other one by one.
#[track_caller]
pub fn assert_no_gap(increments: &[Increment]) {
    for pair in increments.windows(2) {
        assert_eq!(pair[0].txid.next(), Some(pair[1].txid), "a gap in L0");
    }
}

/// Restores with lockkeeper; returns the bytes of the database.
pub async fn restored(folder: &Path, target: Target) -> Vec<u8> {
    let output = tempfile::tempdir().expect("make a folder");
    let path = restore_into(folder, target, output.path()).await;
    std::fs::read(path).expect("read what was restored")
}

/// Restores with lockkeeper into a folder; returns where the database is.
pub async fn restore_into(folder: &Path, target: Target, output: &Path) -> PathBuf {
    match try_restore_into(folder, target, output).await {
        Ok(_) => output.join(RESTORED),
        Err(error) => panic!("cannot restore {target:?}: {error}"),
    }
}

/// The same, for a point that may not be there; the database is [`RESTORED`].
///
/// # Errors
///
/// As [`restore`].
pub async fn try_restore_into(
    folder: &Path,
    target: Target,
    output: &Path,
) -> lockkeeper::Result<Restored> {
    let options = RestoreOptions {
        target,
        ..RestoreOptions::new(output.join(RESTORED))
    };
    restore(&Replica::file(folder)?, options).await
}

fn is_full(path: &Path) -> bool {
    let file = std::fs::File::open(path).expect("open an L0 file");
    let mut reader = Reader::new(std::io::BufReader::new(file));
    let commit = reader.header().expect("a valid file").commit;
    let mut pages = 0;
    while reader.next_page().expect("a valid file").is_some() {
        pages += 1;
    }
    pages == commit
}
