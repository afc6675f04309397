//! Turns at multiples of an interval on the wall clock.

/// Litestream counts multiples from the year 1; this long passed until the Unix epoch.
const YEAR_1_TO_EPOCH_MS: u64 = 62_135_596_800_000;

/// The time from the last multiple of an interval until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) start: u64,
    now: u64,
}

impl Round {
    /// None if the interval is 0, which turns something off.
    pub(super) fn at(now: u64, interval: u64) -> Option<Self> {
        let past = now
            .saturating_add(YEAR_1_TO_EPOCH_MS)
            .checked_rem(interval)?;
        let start = now.saturating_sub(past);
        Some(Self { start, now })
    }

    /// Times from the future are in no round: they say that the clock went back.
    pub(super) fn contains(self, time: u64) -> bool {
        (self.start..=self.now).contains(&time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_start_at_multiples_since_the_year_one() {
        let start = |now, interval| Round::at(now, interval).map(|round| round.start);
        assert_eq!(start(1_764_000_029_999, 30_000), Some(1_764_000_000_000));
        // Thursday, 27 November 2025: weeks begin on Mondays.
        let week = 7 * 86_400_000;
        assert_eq!(start(1_764_201_600_000, week), Some(1_763_942_400_000));
        assert_eq!(start(1_764_000_029_999, 0), None);
    }
}
