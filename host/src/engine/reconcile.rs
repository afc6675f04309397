//! Compares the local files of a database with its replica.

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use super::ownership::Ownership;
use crate::Result;
use crate::spool::Spool;
use crate::store::{Replica, collect_up_to};

/// Bytes of the checksum of a file.
const CHECKSUM_LEN: usize = size_of::<u64>();

/// What the replica holds, as far as the local side must know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) files: Vec<ReplicaFile>,
    /// The last transaction that is known to have been durable.
    pub(super) head: Option<Txid>,
    /// The checksum of the newest file of level 0, in its last bytes.
    newest_checksum: Option<u64>,
}

impl Remote {
    /// Becomes the owner of a replica, and only then looks at what it holds: whoever wrote before
    /// learns of the claim the sooner.
    pub(super) async fn claim(replica: &Replica, ownership: &Ownership) -> Result<Self> {
        let head = ownership.claim().await?;
        let mut remote = Self {
            head,
            files: replica.list_all().await?,
            newest_checksum: None,
        };
        if let Some(file) = remote.newest_l0() {
            let at = file.size.saturating_sub(CHECKSUM_LEN as u64);
            if let Some(body) = replica.get_from(Level::L0, file.name, at).await? {
                let bytes = collect_up_to(body, CHECKSUM_LEN).await?.unwrap_or_default();
                remote.newest_checksum = bytes.try_into().ok().map(u64::from_be_bytes);
            }
        }
        Ok(remote)
    }

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
    // Only the same file on both sides shows that nobody else went on from here.
    let Some(file) = remote
        .newest_l0()
        .filter(|file| Some(file.name.range().max()) == remote.last_in_order())
    else {
        return Ok(false);
    };
    if !spool.names()?.contains(&file.name)
        || spool.size(file.name)? != file.size
        || Some(spool.checksum(file.name)?) != remote.newest_checksum
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn txid(n: u64) -> Txid {
        Txid::new(n).unwrap()
    }

    fn name(min: u64, max: u64) -> FileName {
        FileName::new(TxidRange::new(txid(min), txid(max)).unwrap())
    }

    /// A spool with the files of three transactions.
    fn spool(dir: &std::path::Path) -> Spool {
        let spool = Spool::open(dir).unwrap();
        for n in 1..=3 {
            let size = lockkeeper_ltx::PageSize::new(512).unwrap();
            let span = lockkeeper_ltx::WalSpan::default();
            let header = lockkeeper_ltx::Header::new(size, 1, TxidRange::single(txid(n)), 0, span);
            let mut bytes = Vec::new();
            let encoding = lockkeeper_ltx::PageEncoding::Block;
            let mut encoder = lockkeeper_ltx::Encoder::new(header, encoding, &mut bytes).unwrap();
            let page = [n as u8; 512];
            encoder
                .page(lockkeeper_ltx::Pgno::new(1).unwrap(), &page, &mut bytes)
                .unwrap();
            encoder.finish(&mut bytes).unwrap();
            let mut draft = spool.create(txid(n)).unwrap();
            draft.write(&bytes).unwrap();
            draft.seal().unwrap();
        }
        spool
    }

    /// A replica with these files, the newest of level 0 as it is in the spool.
    fn remote(spool: &Spool, files: &[(u8, u64, u64)]) -> Remote {
        let file = |&(level, min, max): &(u8, u64, u64)| ReplicaFile {
            level: Level::new(level).unwrap(),
            name: name(min, max),
            size: spool.size(name(min, max)).unwrap_or(200),
            created_ms: 0,
        };
        let mut remote = Remote {
            files: files.iter().map(file).collect(),
            ..Remote::default()
        };
        let newest = remote.newest_l0().map(|file| file.name);
        remote.newest_checksum = newest.and_then(|name| spool.checksum(name).ok());
        remote
    }

    #[test]
    fn local_files_go_on_from_the_very_file_that_the_replica_ends_with() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        let check =
            |files: &[(u8, u64, u64)]| local_continues(&spool, &remote(&spool, files)).unwrap();
        assert!(check(&[]));
        assert!(check(&[(0, 1, 1), (0, 2, 2)]));
        assert!(check(&[(0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 1, 3)]));
        assert!(!check(&[(0, 3, 3), (0, 4, 4)]), "it went on");
        assert!(!check(&[(9, 1, 2)]), "nothing to compare with");
        // Somebody else's file may have become part of the merged one.
        assert!(!check(&[(0, 1, 1), (1, 1, 2)]));
    }

    #[test]
    fn a_file_of_another_content_is_another_history() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        let whole = remote(&spool, &[(0, 1, 1), (0, 2, 2)]);
        let mut other = whole.clone();
        other.newest_checksum = other.newest_checksum.map(|sum| sum ^ 1);
        assert!(!local_continues(&spool, &other).unwrap());
        let mut gone = whole.clone();
        gone.newest_checksum = None;
        assert!(!local_continues(&spool, &gone).unwrap());
        let mut longer = whole;
        longer.files.iter_mut().for_each(|file| file.size += 1);
        assert!(!local_continues(&spool, &longer).unwrap());
    }
}
