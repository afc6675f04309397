//! Holds a proposed keep-set against what is promised.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_ltx::{Level, Txid};

use super::holds::{HeldPoint, Holds, HoldsPause};
use crate::inventory::{Inventory, ReplicaFile};
use crate::live_set::{LiveSet, Need, Window};
use crate::policy::{Hold, HoldFacts, Keep, RetentionFacts};
use crate::restore::PlanError;
use crate::retention;

/// At most this many files are deleted at once: what one request can name on S3. The rest goes
/// the next time.
pub const DELETIONS_MAX: usize = 1000;

/// How far the clock may be behind the newest file. Stores have clocks of their own, and S3 refuses
/// requests that are further off.
pub const CLOCK_BEHIND_MAX_MS: u64 = 15 * 60 * 1000;

/// The newest file may be this many times older than the window is long. An idle database is
/// tidied within one window, so this delays no deletion but those of a clock that is far ahead.
const CLOCK_AHEAD_MAX_WINDOWS: u64 = 2;

/// What a decision about deletions is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Every file of the replica.
    pub inventory: &'a Inventory,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// As configured.
    pub window: Window,
    /// `retention.enabled`, as configured.
    pub enabled: bool,
    /// Whether the last proof of this replica failed: then old files may be the only good ones.
    pub verification_failed: bool,
}

/// Why nothing is deleted for now.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Pause {
    /// The configuration leaves deleting to the storage.
    #[error("retention is turned off")]
    Disabled,
    /// The last verification of the replica failed.
    #[error("the last verification of the replica failed")]
    VerificationFailed,
    /// The clock went back, or files came from a host with another one.
    #[error("the clock is {behind_ms} ms behind the newest file of the replica")]
    ClockBehind {
        /// How far.
        behind_ms: u64,
    },
    /// The clock jumped ahead, or nothing was written for long; either way there is no hurry.
    #[error("the newest file of the replica is {age_ms} ms old")]
    ClockAhead {
        /// How old.
        age_ms: u64,
    },
    /// The newest transaction cannot be restored: files are missing.
    #[error("the replica does not restore: {0}")]
    Unrestorable(#[source] PlanError),
    /// What is held is not known.
    #[error(transparent)]
    Holds(#[from] HoldsPause),
}

impl Pause {
    /// A stable name for logs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::VerificationFailed => "verification-failed",
            Self::ClockBehind { .. } => "clock-behind",
            Self::ClockAhead { .. } => "clock-ahead",
            Self::Unrestorable(_) => "unrestorable",
            Self::Holds(pause) => pause.code(),
        }
    }
}

/// A situation in which files may be deleted.
///
/// # Example
///
/// ```
/// use lockkeeper_core::guard::deletions::{Pause, Review, Situation};
/// use lockkeeper_core::{fallback, inventory::Inventory, live_set::Window};
///
/// let situation = Situation {
///     inventory: &Inventory::default(),
///     now_ms: 0,
///     window: Window::default(),
///     enabled: true,
///     verification_failed: false,
/// };
/// match Review::new(situation) {
///     Ok(review) => {
///         let keeps = fallback::plan_retention(&review.facts());
///         let deletions = review.decide(&keeps);
///         println!("{} files go", deletions.files.len());
///     }
///     Err(pause) => assert_eq!(pause.code(), "unrestorable"),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Review<'a> {
    situation: Situation<'a>,
    live: LiveSet,
}

impl<'a> Review<'a> {
    /// Checks whether anything may be deleted at all, and finds what is needed.
    ///
    /// # Errors
    ///
    /// [`Pause`] if nothing may be deleted now.
    pub fn new(situation: Situation<'a>) -> Result<Self, Pause> {
        if !situation.enabled {
            return Err(Pause::Disabled);
        }
        if situation.verification_failed {
            return Err(Pause::VerificationFailed);
        }
        check_clock(&situation)?;
        let live = LiveSet::new(situation.inventory, &situation.window, situation.now_ms)
            .map_err(Pause::Unrestorable)?;
        Ok(Self { situation, live })
    }

    /// Keeps what restores each held point, as long as this review lasts. Returns where each leads.
    ///
    /// # Example
    ///
    /// ```
    /// use lockkeeper_core::guard::deletions::{Review, Situation};
    /// use lockkeeper_core::guard::holds::Holds;
    /// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
    /// use lockkeeper_core::live_set::Window;
    /// use lockkeeper_core::policy::Hold;
    /// use lockkeeper_ltx::Level;
    ///
    /// # let file = |level: u8, name: &str| ReplicaFile {
    /// #     level: Level::new(level).expect("a level"),
    /// #     name: name.parse().expect("a name"),
    /// #     size: 1000,
    /// #     created_ms: 0,
    /// # };
    /// let inventory = Inventory::new(vec![file(9, "0000000000000001-0000000000000001.ltx")]);
    /// let mut review = Review::new(Situation {
    ///     inventory: &inventory,
    ///     now_ms: 3_600_000,
    ///     window: Window::default(),
    ///     enabled: true,
    ///     verification_failed: false,
    /// })
    /// .expect("files may be deleted");
    /// assert_eq!(review.hold_facts("app.db").snapshots.len(), 1);
    /// let hold = Hold { at_ms: 1_000, reason: "a lawsuit".into() };
    /// let held = review.hold(Holds::accept(Some(vec![hold])).expect("one can be kept"));
    /// assert_eq!(held[0].txid.map(|txid| txid.get()), Some(1));
    /// ```
    pub fn hold(&mut self, holds: Holds) -> Vec<HeldPoint> {
        let hold = |hold: Hold| HeldPoint {
            txid: self.live.hold(self.situation.inventory, hold.at_ms),
            at_ms: hold.at_ms,
            reason: hold.reason,
        };
        holds.into_iter().map(hold).collect()
    }

    /// What to ask a policy about holds with.
    #[must_use]
    pub fn hold_facts(&self, database: &str) -> HoldFacts {
        let Situation {
            inventory,
            window,
            now_ms,
            ..
        } = self.situation;
        HoldFacts {
            now_ms,
            database: database.to_owned(),
            snapshot_retention_ms: window.snapshot_retention_ms,
            snapshots: inventory.level(Level::SNAPSHOT).to_vec(),
        }
    }

    /// What to ask a policy with.
    #[must_use]
    pub fn facts(&self) -> RetentionFacts {
        let Situation {
            inventory,
            window,
            now_ms,
            ..
        } = self.situation;
        retention::facts(inventory, &self.live, window, now_ms)
    }

    /// Decides what is deleted: what no keep names and nothing needs.
    #[must_use]
    pub fn decide(&self, keeps: &[Keep]) -> Deletions {
        let kept = Kept::new(keeps);
        let mut deletions = Deletions::default();
        for file in self.situation.inventory.files() {
            if kept.names(file) {
                continue;
            }
            if let Some(need) = self.live.need(file) {
                *deletions.refused.entry(need).or_default() += 1;
            } else if deletions.files.len() < DELETIONS_MAX {
                deletions.files.push(*file);
            } else {
                deletions.postponed += 1;
            }
        }
        deletions
    }

    #[cfg(test)]
    pub(super) fn forget(&mut self, need: Need) {
        self.live.forget(need);
    }
}

/// What becomes of a keep-set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Deletions {
    /// To be deleted; at most [`DELETIONS_MAX`]. By ascending level, the oldest first. Any part of
    /// them may be, in any order: what stays restores all that is promised.
    pub files: Vec<ReplicaFile>,
    /// Files the keep-set would have let go, by the reason why they stay.
    pub refused: BTreeMap<Need, usize>,
    /// How many more may go the next time.
    pub postponed: usize,
}

fn check_clock(situation: &Situation<'_>) -> Result<(), Pause> {
    let files = situation.inventory.files().iter();
    let Some(newest_ms) = files.map(ReplicaFile::created_unix_ms).max() else {
        return Ok(());
    };
    let behind_ms = newest_ms.saturating_sub(situation.now_ms);
    if behind_ms > CLOCK_BEHIND_MAX_MS {
        return Err(Pause::ClockBehind { behind_ms });
    }
    let age_ms = situation.now_ms.saturating_sub(newest_ms);
    let retention_ms = situation.window.snapshot_retention_ms;
    if age_ms > retention_ms.saturating_mul(CLOCK_AHEAD_MAX_WINDOWS) {
        return Err(Pause::ClockAhead { age_ms });
    }
    Ok(())
}

/// What a keep-set names.
#[derive(Default)]
struct Kept {
    /// The ranges by level, by ascending start; each end is the greatest up to there.
    levels: BTreeMap<Level, Vec<(Txid, Txid)>>,
    /// The ends of snapshots.
    snapshots: BTreeSet<Txid>,
}

impl Kept {
    fn new(keeps: &[Keep]) -> Self {
        let mut kept = Self::default();
        for keep in keeps {
            let range = (keep.range.min(), keep.range.max());
            if keep.level == Level::SNAPSHOT {
                kept.snapshots.insert(range.1);
            } else {
                kept.levels.entry(keep.level).or_default().push(range);
            }
        }
        for ranges in kept.levels.values_mut() {
            ranges.sort_unstable();
            let mut greatest = Txid::FIRST;
            for (_, end) in ranges {
                greatest = greatest.max(*end);
                *end = greatest;
            }
        }
        kept
    }

    /// Whether some range has a transaction in common with the file. All snapshots have that, so
    /// one of those is named by its last transaction.
    fn names(&self, file: &ReplicaFile) -> bool {
        if file.level == Level::SNAPSHOT {
            return self.snapshots.contains(&file.range().max());
        }
        let Some(ranges) = self.levels.get(&file.level) else {
            return false;
        };
        let started = ranges.partition_point(|(start, _)| *start <= file.range().max());
        started
            .checked_sub(1)
            .and_then(|last| ranges.get(last))
            .is_some_and(|(_, end)| *end >= file.range().min())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
