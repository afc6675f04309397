//! Sending again what a replica has lost.

use std::sync::Arc;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level, TxidRange};

use super::database::blocking;
use crate::Result;
use crate::spool::Spool;
use crate::store::{Replica, body_from_file};

/// Files of one call; what is left waits for the next.
const FILES_MAX: usize = 256;

/// Sends the local files of lost transactions, as far as there are any. Returns what was sent.
///
/// # Errors
///
/// If the replica does not take one, or a local file is damaged.
pub(super) async fn run(
    replica: &Replica,
    spool: &Arc<Spool>,
    lost: &[TxidRange],
) -> Result<Vec<ReplicaFile>> {
    let (local, ranges) = (Arc::clone(spool), lost.to_vec());
    let names = blocking(move || {
        let mut names = local.names()?;
        names.retain(|name| ranges.iter().any(|&lost| contains(lost, name.range())));
        names.truncate(FILES_MAX);
        Ok(names)
    })
    .await?;
    let mut sent = Vec::with_capacity(names.len());
    for name in names {
        let local = Arc::clone(spool);
        let (file, created_ms) = blocking(move || {
            let header = local.verify(name)?;
            Ok((local.open_file(name)?, header.timestamp_ms))
        })
        .await?;
        let body = body_from_file(file);
        let size = replica.put(Level::L0, name, created_ms, body).await?;
        tracing::warn!(%replica, %name, "the replica had lost a file; it was sent again");
        sent.push(file_of(name, size, created_ms));
    }
    Ok(sent)
}

fn file_of(name: FileName, size: u64, created_ms: i64) -> ReplicaFile {
    ReplicaFile {
        level: Level::L0,
        name,
        size,
        created_ms,
    }
}

fn contains(outer: TxidRange, inner: TxidRange) -> bool {
    outer.min() <= inner.min() && inner.max() <= outer.max()
}
