//! The levels of a replica and when each has its turn.
//!
//! | level | holds | written |
//! |---|---|---|
//! | 0 | what one sync sealed | at each sync |
//! | 1 to 8 | the files of the level below, merged | once per interval of the level |
//! | 9 | whole databases | once per snapshot interval |
//!
//! Turns come at multiples of an interval on the wall clock, as in Litestream, so that a restart
//! neither skips nor repeats one, and so that the files of many hosts end at the same times.

use std::num::NonZeroU64;

use lockkeeper_ltx::Level;

/// The format numbers compaction levels from 1 to 8; 9 is for snapshots.
pub const COMPACTION_LEVELS_MAX: usize = 8;

/// Litestream counts multiples from the first of January of the year 1, which is this long before
/// the Unix epoch. For intervals that divide a day both give the same times; for a week they
/// differ.
const YEAR_1_TO_EPOCH_MS: u64 = 62_135_596_800_000;

/// A configured list of intervals that cannot be levels.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelsError {
    /// There are more than the format has numbers for.
    #[error("{count} compaction levels, at most {COMPACTION_LEVELS_MAX} are possible")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A level without time between its turns.
    #[error("compaction level {level} has an interval of 0 ms")]
    NoInterval {
        /// Which one.
        level: usize,
    },
}

/// The compaction levels of a replica: from level 1 on, without a hole.
///
/// # Example
///
/// ```
/// use lockkeeper_core::levels::Levels;
///
/// let levels = Levels::new(&[30_000, 300_000]).expect("two levels"); // milliseconds
/// assert_eq!(levels.iter().map(|(level, _)| level.get()).collect::<Vec<_>>(), [1, 2]);
/// assert!(Levels::new(&[0]).is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Levels {
    intervals_ms: Vec<NonZeroU64>,
}

impl Levels {
    /// Levels with these intervals in milliseconds, from level 1 on. None at all is possible:
    /// such a replica has single syncs and snapshots only.
    ///
    /// # Errors
    ///
    /// [`LevelsError`] for more than [`COMPACTION_LEVELS_MAX`], or for an interval of 0.
    pub fn new(intervals_ms: &[u64]) -> Result<Self, LevelsError> {
        let count = intervals_ms.len();
        if count > COMPACTION_LEVELS_MAX {
            return Err(LevelsError::TooMany { count });
        }
        let intervals_ms = (1..)
            .zip(intervals_ms)
            .map(|(level, &ms)| NonZeroU64::new(ms).ok_or(LevelsError::NoInterval { level }))
            .collect::<Result<_, _>>()?;
        Ok(Self { intervals_ms })
    }

    /// The compaction levels with their intervals in milliseconds, from level 1 on.
    pub fn iter(&self) -> impl Iterator<Item = (Level, NonZeroU64)> {
        Level::all().skip(1).zip(self.intervals_ms.iter().copied())
    }
}

impl Default for Levels {
    /// Litestream's: 30 seconds, 5 minutes, 1 hour.
    fn default() -> Self {
        let intervals_ms = [30_000, 300_000, 3_600_000];
        Self {
            intervals_ms: intervals_ms
                .into_iter()
                .filter_map(NonZeroU64::new)
                .collect(),
        }
    }
}

/// The time since the last multiple of an interval: what is sealed in it has to wait for the next.
///
/// # Example
///
/// ```
/// use lockkeeper_core::levels::Round;
/// let minute = std::num::NonZeroU64::new(60_000).unwrap();
/// let round = Round::at(185_000, minute);
/// assert_eq!(round.start_ms(), 180_000);
/// assert!(round.contains(180_000) && round.contains(185_000));
/// assert!(!round.contains(179_999));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Round {
    start_ms: u64,
    now_ms: u64,
}

impl Round {
    /// The round that is running at `now_ms` since the Unix epoch.
    #[must_use]
    pub fn at(now_ms: u64, interval_ms: NonZeroU64) -> Self {
        let past = now_ms.saturating_add(YEAR_1_TO_EPOCH_MS) % interval_ms;
        Self {
            start_ms: now_ms.saturating_sub(past),
            now_ms,
        }
    }

    /// When it began, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn start_ms(self) -> u64 {
        self.start_ms
    }

    /// Whether a time lies in the round. One from the future does not: it says that the clock went
    /// back, and waiting for it to be reached again could take years.
    #[must_use]
    pub fn contains(self, unix_ms: u64) -> bool {
        (self.start_ms..=self.now_ms).contains(&unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_numbered_from_one_and_default_to_those_of_litestream() {
        let all = |levels: &Levels| -> Vec<(u8, u64)> {
            levels.iter().map(|(n, ms)| (n.get(), ms.get())).collect()
        };
        let default = [(1, 30_000), (2, 300_000), (3, 3_600_000)];
        assert_eq!(all(&Levels::default()), default);
        assert_eq!(all(&Levels::new(&[]).unwrap()), []);
        assert_eq!(all(&Levels::new(&[7; 8]).unwrap()).last(), Some(&(8, 7)));
    }

    #[test]
    fn more_than_eight_levels_and_empty_intervals_are_refused() {
        assert_eq!(Levels::new(&[1; 9]), Err(LevelsError::TooMany { count: 9 }));
        assert_eq!(
            Levels::new(&[5, 0]),
            Err(LevelsError::NoInterval { level: 2 })
        );
    }

    #[track_caller]
    fn check(now_ms: u64, interval_ms: u64, start_ms: u64) {
        let round = Round::at(now_ms, NonZeroU64::new(interval_ms).unwrap());
        assert_eq!(round.start_ms(), start_ms);
    }

    #[test]
    fn rounds_start_at_multiples_of_the_wall_clock() {
        check(1_764_000_029_999, 30_000, 1_764_000_000_000);
        check(1_764_000_030_000, 30_000, 1_764_000_030_000);
        // Thursday, 27 November 2025: weeks begin on Mondays.
        check(1_764_201_600_000, 7 * 86_400_000, 1_763_942_400_000);
        check(5, u64::MAX, 0);
        check(u64::MAX, 1, u64::MAX);
    }

    #[test]
    fn a_time_from_the_future_is_in_no_round() {
        let round = Round::at(185, NonZeroU64::new(60).unwrap());
        assert!(round.contains(185));
        assert!(!round.contains(186));
    }
}
