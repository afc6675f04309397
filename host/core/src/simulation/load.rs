//! A month of an application that people use: more by day than by night, with bursts, outages of
//! the store, and growth.

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A Monday in December 2025, at midnight.
const START: u64 = 1_764_547_200_000;
/// The mean time between commits at noon, and how many times longer it is at midnight.
const PAUSE_NOON: u64 = 12_000;
const NIGHT_FACTOR: u64 = 40;
/// A burst comes once a day, and has a commit every quarter of a second.
const BURST: u64 = 5 * MINUTE;
const BURST_PAUSE: u64 = 250;
/// Days after which there is twice the load.
const DOUBLING_DAYS: u64 = 60;

/// One commit of an application.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Commit {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What its pages take in a file.
    pub bytes: u64,
}

/// A time in which the store does not answer; the end is not part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage {
    /// In milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// In milliseconds since the Unix epoch.
    pub to_ms: u64,
}

/// A load that follows from its seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// What chance is drawn from.
    pub seed: u64,
    /// How long it is.
    pub days: u32,
}

impl Load {
    /// When it ends, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        START + u64::from(self.days) * DAY
    }

    /// The commits, in order.
    pub fn commits(&self) -> impl Iterator<Item = Commit> + use<> {
        Commits {
            random: Random(self.seed),
            now_ms: START,
            end_ms: self.end_ms(),
        }
    }

    /// An hour in the afternoon of the first day, and of each eighth day after.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        let days = (0..u64::from(self.days)).step_by(8);
        days.map(|day| Outage {
            from_ms: START + day * DAY + 15 * HOUR,
            to_ms: START + day * DAY + 16 * HOUR,
        })
        .collect()
    }
}

struct Commits {
    random: Random,
    now_ms: u64,
    end_ms: u64,
}

impl Iterator for Commits {
    type Item = Commit;

    fn next(&mut self) -> Option<Commit> {
        let since = self.now_ms - START;
        let (day, time) = (since / DAY, since % DAY);
        let burst = burst_of(day);
        let pause = if (burst..burst + BURST).contains(&time) {
            BURST_PAUSE
        } else {
            // Growth in whole days, so that each of them can be compared with the one before.
            let pause = pause_at(time) * DOUBLING_DAYS / (DOUBLING_DAYS + day);
            1 + self.random.below(2 * pause)
        };
        self.now_ms += pause;
        let pages = 1 + self.random.below(6);
        (self.now_ms < self.end_ms).then_some(Commit {
            at_ms: self.now_ms,
            bytes: pages * 2048,
        })
    }
}

/// Between eight in the morning and eight in the evening, at another time each day.
fn burst_of(day: u64) -> u64 {
    8 * HOUR + Random(day).below(12 * HOUR)
}

/// Grows from noon to midnight and shrinks again.
fn pause_at(time: u64) -> u64 {
    let from_noon = time.abs_diff(DAY / 2);
    // Squared, the day is broad and the night is deep.
    let share = from_noon * from_noon / (DAY / 2 / 1000);
    PAUSE_NOON + PAUSE_NOON * (NIGHT_FACTOR - 1) * share / (DAY / 2 * 1000)
}

/// SplitMix64: numbers that follow from the seed and look like chance.
struct Random(u64);

impl Random {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
