//! How closely a log is followed: who tells of commits, and when it is looked at regardless.

use std::time::Duration;

use tokio::time::Instant;

use super::shared::DatabaseShared;
use super::watch::Watch;
use super::worker::Worker;

/// A database that is told of when it changes is looked at once in so many `monitor-interval`s, in
/// case that was missed.
const QUIET_INTERVALS: u32 = 10;
/// How soon a log is looked at again that was written to although nothing is committed: frames are
/// written, and perhaps synced, before their commit can be seen. Doubles each time.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);

/// The attention that one log gets.
pub(super) struct Attention {
    watch: Watch,
    interval: Duration,
    /// The next pause between looks, while a commit may come that nobody will tell of.
    look_again: Option<Duration>,
}

impl Attention {
    /// `interval` is the `monitor-interval`.
    pub(super) fn new(watch: Watch, interval: Duration) -> Self {
        Self {
            watch,
            interval,
            look_again: None,
        }
    }

    /// The log was written to. The writes that follow are not told of one by one: a large
    /// transaction has many.
    pub(super) fn woken(&mut self) {
        self.watch.rest();
        self.look_again = Some(LOOK_AGAIN_MIN);
    }

    /// Nobody needs to tell of commits: they are read now.
    pub(super) fn rest(&mut self) {
        self.watch.rest();
        self.look_again = None;
    }

    /// Commits wait on purpose after a turn, or somebody has to tell of them again. Says when to
    /// look if nobody did meanwhile.
    pub(super) fn after_turn(&mut self, is_batching: bool) -> Option<Instant> {
        if is_batching {
            self.rest();
            return None;
        }
        if self.watch.is_listening() {
            return None;
        }
        self.watch.listen();
        self.look_again = Some(LOOK_AGAIN_MIN);
        Some(Instant::now())
    }

    /// When to look again if there is nothing to do; `None` if there may be.
    pub(super) fn quiet_until(
        &mut self,
        worker: &Worker,
        shared: &DatabaseShared,
    ) -> Option<Instant> {
        let pause = match self.look_again.take() {
            Some(pause) if pause < self.interval => {
                self.look_again = Some(pause * 2);
                pause
            }
            // The last time: it is listened to from now on.
            Some(_) => self.interval,
            None => self.interval * QUIET_INTERVALS,
        };
        let is_followed = self.look_again.is_some() || self.watch.listen();
        let is_quiet = is_followed && worker.is_quiet(shared);
        is_quiet.then(|| worker.decides_at().min(Instant::now() + pause))
    }
}
