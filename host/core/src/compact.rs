//! Short ways to write down what decisions are made of, as a trace or a test case has it.
//!
//! | what | as JSON |
//! |---|---|
//! | a file | `[level, first transaction, last transaction, bytes, created in ms]` |
//! | a file with the reason why it is needed | `[file, "window"]`, or `[file, null]` |
//! | a keep or a merge | `[level, first transaction, last transaction, reason]` |
//! | a hole | `[level, last transaction before it or null, first transaction after it]` |

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use crate::inventory::ReplicaFile;
use crate::live_set::Need;
use crate::policy::{CompactionProposal, HeldFile, Keep};
use crate::waiting::Gap;

pub(crate) type Listed = (u8, u64, u64, u64, i64);
pub(crate) type Held = (ReplicaFile, Option<Need>);
pub(crate) type Named = (u8, u64, u64, String);
pub(crate) type Hole = (u8, Option<u64>, u64);

/// Numbers that name no level, no transaction, or a range that ends before it begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no level {0} or no transactions {1} to {2}")]
pub struct OutOfRange(u8, u64, u64);

fn level_and_range(level: u8, min: u64, max: u64) -> Result<(Level, TxidRange), OutOfRange> {
    let range = || TxidRange::new(Txid::new(min)?, Txid::new(max)?);
    Level::new(level)
        .zip(range())
        .ok_or(OutOfRange(level, min, max))
}

impl From<ReplicaFile> for Listed {
    fn from(file: ReplicaFile) -> Self {
        let (min, max) = (file.range().min().get(), file.range().max().get());
        (file.level.get(), min, max, file.size, file.created_ms)
    }
}

impl TryFrom<Listed> for ReplicaFile {
    type Error = OutOfRange;

    fn try_from((level, min, max, size, created_ms): Listed) -> Result<Self, OutOfRange> {
        let (level, range) = level_and_range(level, min, max)?;
        Ok(Self {
            level,
            name: FileName::new(range),
            size,
            created_ms,
        })
    }
}

impl From<HeldFile> for Held {
    fn from(held: HeldFile) -> Self {
        (held.file, held.need)
    }
}

impl From<Held> for HeldFile {
    fn from((file, need): Held) -> Self {
        Self { file, need }
    }
}

impl From<Keep> for Named {
    fn from(keep: Keep) -> Self {
        named(keep.level, keep.range, keep.reason)
    }
}

impl TryFrom<Named> for Keep {
    type Error = OutOfRange;

    fn try_from((level, min, max, reason): Named) -> Result<Self, OutOfRange> {
        let (level, range) = level_and_range(level, min, max)?;
        Ok(Self {
            level,
            range,
            reason,
        })
    }
}

impl From<CompactionProposal> for Named {
    fn from(merge: CompactionProposal) -> Self {
        named(merge.level, merge.range, merge.reason)
    }
}

impl TryFrom<Named> for CompactionProposal {
    type Error = OutOfRange;

    fn try_from((level, min, max, reason): Named) -> Result<Self, OutOfRange> {
        let (level, range) = level_and_range(level, min, max)?;
        Ok(Self {
            level,
            range,
            reason,
        })
    }
}

fn named(level: Level, range: TxidRange, reason: String) -> Named {
    (level.get(), range.min().get(), range.max().get(), reason)
}

impl From<Gap> for Hole {
    fn from(gap: Gap) -> Self {
        (gap.level.get(), gap.have.map(Txid::get), gap.next.get())
    }
}

impl TryFrom<Hole> for Gap {
    type Error = OutOfRange;

    fn try_from((level, have, next): Hole) -> Result<Self, OutOfRange> {
        let (level, range) = level_and_range(level, next, next)?;
        Ok(Self {
            level,
            have: have.and_then(Txid::new),
            next: range.min(),
        })
    }
}

/// A level as its number.
pub(crate) mod level {
    use lockkeeper_ltx::Level;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub(crate) fn serialize<S: Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
        level.get().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Level, D::Error> {
        let number = u8::deserialize(from)?;
        Level::new(number).ok_or_else(|| D::Error::custom(format!("there is no level {number}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::testing::{file, level, range};

    #[test]
    fn a_file_is_five_numbers_and_comes_back_from_them() {
        let held = HeldFile {
            file: file((1, 2, 5, 9)),
            need: Some(Need::NewestChain),
        };
        let text = serde_json::to_string(&held).unwrap();
        assert_eq!(text, r#"[[1,2,5,200,9],"newest-chain"]"#);
        assert_eq!(serde_json::from_str::<HeldFile>(&text).unwrap(), held);
    }

    #[test]
    fn numbers_that_name_nothing_are_refused() {
        for text in ["[10,1,1,0,0]", "[0,0,1,0,0]", "[0,2,1,0,0]"] {
            let found = serde_json::from_str::<ReplicaFile>(text);
            assert!(found.is_err(), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_hole_and_a_keep_come_back_from_what_is_written() {
        let gap = Gap {
            level: level(0),
            have: None,
            next: range(7, 7).min(),
        };
        let text = serde_json::to_string(&gap).unwrap();
        assert_eq!(text, "[0,null,7]");
        assert_eq!(serde_json::from_str::<Gap>(&text).unwrap(), gap);
        let keep = Keep {
            level: level(9),
            range: range(1, 4),
            reason: "why".into(),
        };
        let text = serde_json::to_string(&keep).unwrap();
        assert_eq!(text, r#"[9,1,4,"why"]"#);
        assert_eq!(serde_json::from_str::<Keep>(&text).unwrap(), keep);
    }
}
