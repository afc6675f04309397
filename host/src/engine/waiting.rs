//! Since when commits wait to be durable.

use std::collections::VecDeque;
use std::time::SystemTime;

use lockkeeper_ltx::Txid;

/// Transactions whose times are remembered; while more wait, the time of an earlier one stands for
/// them.
const SEALED_MAX: usize = 4096;

/// Commits that are not durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// Since when the oldest waits to be sealed.
    unsealed: Option<SystemTime>,
    /// Sealed transactions, and since when their oldest commit waits.
    sealed: VecDeque<(Txid, SystemTime)>,
}

impl Waiting {
    /// A commit was noticed that is not sealed.
    pub(super) fn noticed(&mut self, now: SystemTime) {
        self.unsealed.get_or_insert(now);
    }

    pub(super) fn sealed(&mut self, txid: Txid, now: SystemTime) {
        let since = self.unsealed.take().unwrap_or(now);
        if self.sealed.len() < SEALED_MAX {
            self.sealed.push_back((txid, since));
        } else if let Some(last) = self.sealed.back_mut() {
            last.0 = txid;
        }
    }

    /// Everything up to `txid` is durable.
    pub(super) fn confirmed(&mut self, txid: Option<Txid>) {
        while self
            .sealed
            .front()
            .is_some_and(|(first, _)| Some(*first) <= txid)
        {
            self.sealed.pop_front();
        }
    }

    /// Whether a commit was noticed that is not sealed.
    pub(super) fn is_unsealed(&self) -> bool {
        self.unsealed.is_some()
    }

    /// Since when the oldest waits, sealed or not.
    pub(super) fn since(&self) -> Option<SystemTime> {
        let sealed = self.sealed.front().map(|(_, since)| *since);
        sealed.or(self.unsealed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_commit_that_is_not_durable_counts() {
        let txid = |n| Txid::new(n).unwrap();
        let mut waiting = Waiting::default();
        assert_eq!(waiting.since(), None);
        waiting.noticed(at(1));
        waiting.noticed(at(2));
        assert_eq!(waiting.since(), Some(at(1)));
        assert!(waiting.is_unsealed());
        waiting.sealed(txid(1), at(3));
        assert!(!waiting.is_unsealed());
        waiting.noticed(at(4));
        waiting.sealed(txid(2), at(5));
        assert_eq!(waiting.since(), Some(at(1)));
        waiting.confirmed(Some(txid(1)));
        assert_eq!(waiting.since(), Some(at(4)));
        waiting.noticed(at(6));
        waiting.confirmed(Some(txid(2)));
        assert_eq!(waiting.since(), Some(at(6)));
    }

    #[test]
    fn many_that_wait_are_as_old_as_those_that_are_remembered() {
        let mut waiting = Waiting::default();
        let count = SEALED_MAX as u64 + 10;
        for n in 1..=count {
            waiting.sealed(Txid::new(n).unwrap(), at(n));
        }
        waiting.confirmed(Txid::new(count - 1));
        assert_eq!(waiting.since(), Some(at(SEALED_MAX as u64)));
        waiting.confirmed(Txid::new(count));
        assert_eq!(waiting.since(), None);
    }
}
