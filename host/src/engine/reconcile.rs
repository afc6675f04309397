//! Compares the local files of a database with its replica.

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use crate::Result;
use crate::spool::Spool;

/// What the replica holds, as far as the local side must know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) files: Vec<ReplicaFile>,
}

impl Remote {
    /// The last transaction of the replica.
    pub(super) fn last(&self) -> Option<Txid> {
        self.files.iter().map(|file| file.name.range().max()).max()
    }

    /// The last transaction to which files lead one by one; merged files are made of those. A
    /// snapshot may be ahead of it, if it was sent while files before it still waited: without them
    /// level 0 would have a gap, over which nobody can merge.
    pub(super) fn last_in_order(&self) -> Option<Txid> {
        let in_order = self.files.iter().filter(|f| f.level != Level::SNAPSHOT);
        let last = in_order.map(|file| file.name.range().max()).max();
        last.or_else(|| self.last())
    }

    fn newest_l0(&self) -> Option<&ReplicaFile> {
        self.files
            .iter()
            .filter(|file| file.level == Level::L0)
            .max_by_key(|file| file.name)
    }
}

/// Whether the local files go on where the replica ends.
pub(super) fn local_continues(spool: &Spool, remote: &Remote) -> Result<bool> {
    let Some(newest) = spool.newest()? else {
        return Ok(remote.last().is_none());
    };
    let last = newest.name.range().max();
    let Some(remote_last) = remote.last() else {
        // Nothing is there: everything must still be here.
        return has_all(spool, Txid::FIRST, last);
    };
    if remote_last > last {
        return Ok(false);
    }
    // The same file on both sides shows that nobody else went on from here.
    if let Some(file) = remote.newest_l0()
        && Some(file.name.range().max()) == remote.last_in_order()
        && spool.names()?.contains(&file.name)
        && spool.size(file.name)? != file.size
    {
        return Ok(false);
    }
    match remote.last_in_order().and_then(Txid::next) {
        Some(next) if next <= last => has_all(spool, next, last),
        _ => Ok(true),
    }
}

fn has_all(spool: &Spool, first: Txid, last: Txid) -> Result<bool> {
    let names = spool.names()?;
    let mut wanted = Some(first);
    while let Some(txid) = wanted.filter(|txid| *txid <= last) {
        if names
            .binary_search(&FileName::new(TxidRange::single(txid)))
            .is_err()
        {
            return Ok(false);
        }
        wanted = txid.next();
    }
    Ok(true)
}
