//! What to keep of a replica.

use alloc::string::String;
use alloc::vec::Vec;

use super::compaction::File;

/// A file with what the host says about it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The file.
    pub file: File,
    /// Why the host keeps it in any case.
    pub needed: Option<String>,
}

/// What [`plan_retention`] is asked with.
#[derive(Clone, Debug)]
pub struct RetentionFacts {
    /// Milliseconds since the Unix epoch.
    pub now: u64,
    /// How long files of level 0 are kept; 0 is forever.
    pub l0_retention: u64,
    /// Every file, by ascending level and transaction.
    pub files: Vec<Held>,
}

/// The level of snapshots.
const SNAPSHOT: u8 = 9;

/// Files to keep: those of a level that touch a range; of snapshots, the one that ends with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keep {
    /// From 0 to 9.
    pub level: u8,
    /// The first transaction of the range.
    pub min_txid: u64,
    /// The last transaction of the range.
    pub max_txid: u64,
    /// For people.
    pub reason: String,
}

/// What to keep: what the host needs, and the files of level 0 behind the first young one, so that
/// a clock which jumped leaves no holes in that level.
///
/// What the host needs already follows Litestream's rules: snapshots and merged files for
/// `snapshot.retention`, files of level 0 for `l0-retention` and until they are merged.
#[must_use]
pub fn plan_retention(facts: &RetentionFacts) -> Vec<Keep> {
    let is_young = |file: &File| {
        let age = facts.now.saturating_sub(file.created);
        file.level == 0 && (facts.l0_retention == 0 || age < facts.l0_retention)
    };
    let mut keeps = Vec::new();
    let mut behind_young = false;
    for Held { file, needed } in &facts.files {
        behind_young |= is_young(file);
        match needed {
            Some(reason) => keep(&mut keeps, file, reason),
            None if behind_young && file.level == 0 => {
                keep(&mut keeps, file, "follows a young file");
            }
            None => {}
        }
    }
    keeps
}

/// Adds a file to the last range if it continues it and stays for the same reason. A snapshot is
/// named by its end, so each for itself.
fn keep(keeps: &mut Vec<Keep>, file: &File, reason: &str) {
    if let Some(last) = keeps.last_mut()
        && file.level != SNAPSHOT
        && last.level == file.level
        && last.reason == reason
        && file.min_txid <= last.max_txid.saturating_add(1)
    {
        last.max_txid = last.max_txid.max(file.max_txid);
        return;
    }
    keeps.push(Keep {
        level: file.level,
        min_txid: file.min_txid,
        max_txid: file.max_txid,
        reason: reason.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as `(level, min, max, age, needed)`, with 100 ms for level 0; keeps as
    /// `(level, min, max, reason)`.
    #[track_caller]
    fn check(files: &[(u8, u64, u64, u64, &str)], expected: &[(u8, u64, u64, &str)]) {
        let held = |&(level, min_txid, max_txid, age, needed): &(u8, u64, u64, u64, &str)| Held {
            file: File {
                level,
                min_txid,
                max_txid,
                created: 1000 - age,
            },
            needed: (!needed.is_empty()).then(|| needed.into()),
        };
        let keeps = plan_retention(&RetentionFacts {
            now: 1000,
            l0_retention: 100,
            files: files.iter().map(held).collect(),
        });
        let found: Vec<_> = keeps
            .iter()
            .map(|it| (it.level, it.min_txid, it.max_txid, it.reason.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_host_needs_is_named_in_runs() {
        check(
            &[
                (1, 2, 3, 500, ""),
                (1, 4, 5, 400, "window"),
                (1, 6, 9, 300, "window"),
                (1, 10, 11, 200, "newest-chain"),
                (9, 1, 5, 400, "newest-chain"),
            ],
            &[
                (1, 4, 9, "window"),
                (1, 10, 11, "newest-chain"),
                (9, 1, 5, "newest-chain"),
            ],
        );
        check(
            &[(1, 2, 3, 9, "window"), (1, 5, 6, 8, "window")],
            &[(1, 2, 3, "window"), (1, 5, 6, "window")],
        );
    }

    #[test]
    fn an_old_file_of_level_0_behind_a_young_one_stays() {
        check(
            &[
                (0, 2, 2, 100, ""),
                (0, 3, 3, 99, "young"),
                (0, 4, 4, 900, ""),
                (1, 2, 3, 99, ""),
            ],
            &[(0, 3, 3, "young"), (0, 4, 4, "follows a young file")],
        );
    }

    #[test]
    fn level_0_is_kept_forever_where_its_retention_is_zero() {
        let facts = RetentionFacts {
            now: 1000,
            l0_retention: 0,
            files: vec![Held {
                file: File {
                    level: 0,
                    min_txid: 2,
                    max_txid: 2,
                    created: 1,
                },
                needed: None,
            }],
        };
        assert_eq!(plan_retention(&facts).len(), 1);
    }
}
