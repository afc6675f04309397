//! The files that were sealed last, as long as nobody else writes under their names.
//!
//! Litestream keeps its local files in the same folder, takes no lock there, and replaces files in
//! the folder and in the replica. One that was forgotten, and goes on beside us, mixes its files
//! into ours: each of the two is a history, and the mixture is none.

use std::collections::VecDeque;

use lockkeeper_ltx::FileName;

use crate::spool::{FileIdentity, Spool};

/// How many are looked at. Litestream may replace the last ones: it numbers its next file before it
/// writes it.
const FILES_MAX: usize = 8;

/// The last files that were sealed here.
#[derive(Debug, Default)]
pub(super) struct Ours(VecDeque<(FileName, FileIdentity)>);

impl Ours {
    pub(super) fn push(&mut self, name: FileName, identity: FileIdentity) {
        if self.0.len() == FILES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((name, identity));
    }

    /// One of them that is another file now.
    pub(super) fn replaced(&self, spool: &Spool) -> Option<FileName> {
        let mut files = self.0.iter();
        let found = files.find(|(name, identity)| spool.is_replaced(*name, *identity));
        found.map(|(name, _)| *name)
    }
}
