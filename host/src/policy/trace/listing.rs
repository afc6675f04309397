//! Lists of files, written as what changed since the last one.

use std::collections::{BTreeMap, HashMap};

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::policy::HeldFile;
use serde::{Deserialize, Serialize};

/// The level, the first and the last transaction of a file.
type Name = (u8, u64, u64);

/// A list of files.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Listing {
    /// All of it.
    Whole { whole: Vec<HeldFile> },
    /// What changed since the last one of the same database.
    Change { gone: Vec<Name>, new: Vec<HeldFile> },
}

/// The last list of each database.
#[derive(Debug, Default)]
pub(super) struct Listings(HashMap<String, BTreeMap<Name, HeldFile>>);

impl Listings {
    /// Before a block that stands for itself.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn write(&mut self, database: &str, files: Vec<HeldFile>) -> Listing {
        let now: BTreeMap<Name, HeldFile> =
            files.iter().map(|held| (name(&held.file), *held)).collect();
        let Some(before) = self.0.insert(database.to_owned(), now.clone()) else {
            return Listing::Whole { whole: files };
        };
        Listing::Change {
            gone: before
                .keys()
                .filter(|name| !now.contains_key(name))
                .copied()
                .collect(),
            new: now
                .iter()
                .filter(|(name, held)| before.get(name) != Some(held))
                .map(|(_, held)| *held)
                .collect(),
        }
    }

    /// `None` for a change of a list that was never written whole.
    pub(super) fn read(&mut self, database: &str, listing: Listing) -> Option<Vec<HeldFile>> {
        match listing {
            Listing::Whole { whole } => {
                let files = whole.iter().map(|held| (name(&held.file), *held));
                self.0.insert(database.to_owned(), files.collect());
            }
            Listing::Change { gone, new } => {
                let files = self.0.get_mut(database)?;
                for name in gone {
                    files.remove(&name);
                }
                files.extend(new.iter().map(|held| (name(&held.file), *held)));
            }
        }
        Some(self.0.get(database)?.values().copied().collect())
    }
}

/// Orders as an inventory does.
fn name(file: &ReplicaFile) -> Name {
    let range = file.range();
    (file.level.get(), range.min().get(), range.max().get())
}
