//! Both programs restore the same.

use std::path::Path;

use lockkeeper::restore::{Restored, Target};
use lockkeeper::store::Replica;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_tests::litestream::Litestream;
use lockkeeper_tests::{database, replica};
use tokio::runtime::Runtime;

use crate::truth::Truth;

/// A replica that nobody writes to at the moment, and what it is compared with.
pub(crate) struct Comparison<'a> {
    pub(crate) replica: &'a Path,
    pub(crate) readers: &'a [&'a Litestream],
    pub(crate) runtime: &'a Runtime,
    pub(crate) truth: &'a Truth,
}

/// What is restored, beside the newest state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picks {
    /// Chooses a transaction.
    pub(crate) txid: u32,
    /// Chooses a time.
    pub(crate) time: u32,
    /// Whether the newest state must be that of the database.
    pub(crate) is_complete: bool,
}

impl Comparison<'_> {
    pub(crate) fn run(&self, picks: Picks) {
        let files = Replica::file(self.replica).unwrap();
        let files = self.runtime.block_on(files.list_all()).unwrap();
        if files.is_empty() {
            // It was killed before anything was durable; both programs say so.
            assert!(!picks.is_complete && !self.restores(Target::Latest, &[]));
            return;
        }
        let output = tempfile::tempdir().unwrap();
        let restored = self.restored(Target::Latest, &[], output.path());
        assert!(restored.is_some(), "the newest state cannot be restored");
        let newest = output.path().join(replica::RESTORED);
        self.truth.check_newest(&newest, picks.is_complete);

        let pick = |number: u32| -> &ReplicaFile {
            let count = u32::try_from(files.len()).unwrap();
            &files[usize::try_from(number % count).unwrap()]
        };
        let txid = pick(picks.txid).range().max();
        self.restores(Target::Txid(txid), &["-txid", &txid.to_string()]);
        let ms = pick(picks.time).created_ms;
        let last = files.iter().map(|file| file.created_ms).max();
        // Files of this millisecond are not in it; then they are. Litestream refuses times after
        // everything.
        for ms in [ms, ms + 1].into_iter().filter(|&ms| Some(ms) <= last) {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
            self.restores(Target::Before(ms), &["-timestamp", &time]);
        }
    }

    /// Restores a point with every program; returns whether there is one.
    fn restores(&self, target: Target, arguments: &[&str]) -> bool {
        let output = tempfile::tempdir().unwrap();
        self.restored(target, arguments, output.path()).is_some()
    }

    /// The same, into a folder. Fails unless all programs agree, and the point is the truth.
    fn restored(&self, target: Target, arguments: &[&str], output: &Path) -> Option<Restored> {
        let ours = replica::try_restore_into(self.replica, target, output);
        let ours = self.runtime.block_on(ours);
        let path = output.join(replica::RESTORED);
        let what = format!("{target:?}");
        for reader in self.readers {
            match (&ours, reader.try_restored(self.replica, arguments)) {
                (Ok(_), Ok(theirs)) => {
                    let ours = std::fs::read(&path).unwrap();
                    database::assert_same_bytes(&ours, &theirs, &format!("{what}, {reader:?}"));
                }
                (Err(_), Err(_)) => {}
                (Ok(ours), Err(theirs)) => panic!("{what}: {reader:?} refuses {ours:?}: {theirs}"),
                (Err(ours), Ok(_)) => panic!("{what}: {reader:?} restores it, we do not: {ours}"),
            }
        }
        let restored = ours.ok()?;
        self.truth.check(restored.txid, &path, &what);
        Some(restored)
    }
}
