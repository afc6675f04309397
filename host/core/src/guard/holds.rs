//! Holds the points that a policy names for good, or says why it cannot.

use lockkeeper_ltx::Txid;

use crate::policy::Hold;
use crate::text::printable;

/// The most holds of one database: each is looked up whenever files could be deleted.
pub const HOLDS_MAX: usize = 1000;
/// Longest reason of a hold, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Why nothing is deleted on account of holds. Files that are held must not go because the list of
/// them could not be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldsPause {
    /// The policy did not answer.
    #[error("the policy does not say which points are held")]
    Unknown,
    /// There are more than [`HOLDS_MAX`].
    #[error("the policy holds {count} points, and the host looks up {HOLDS_MAX} at most")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl HoldsPause {
    /// A stable name for logs and counters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "holds-unknown",
            Self::TooMany { .. } => "too-many-holds",
        }
    }
}

/// Holds that can be kept.
///
/// # Example
///
/// ```
/// use lockkeeper_core::guard::holds::{Holds, HoldsPause};
/// use lockkeeper_core::policy::Hold;
///
/// let hold = Hold { at_ms: 1_795_449_658_764, reason: "a lawsuit".into() };
/// let holds = Holds::accept(Some(vec![hold])).expect("one can be kept");
/// assert!(holds.len() == 1 && !holds.is_empty());
/// assert_eq!(Holds::accept(None).map_err(HoldsPause::code), Err("holds-unknown"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holds(Vec<Hold>);

impl Holds {
    /// Takes the answer of a policy; `None` if there was none.
    ///
    /// # Errors
    ///
    /// [`HoldsPause`] if nothing may be deleted for it.
    pub fn accept(answer: Option<Vec<Hold>>) -> Result<Self, HoldsPause> {
        let mut holds = answer.ok_or(HoldsPause::Unknown)?;
        if holds.len() > HOLDS_MAX {
            return Err(HoldsPause::TooMany { count: holds.len() });
        }
        for hold in &mut holds {
            hold.reason = printable(&hold.reason, REASON_CHARS_MAX);
        }
        Ok(Self(holds))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Holds {
    type Item = Hold;
    type IntoIter = std::vec::IntoIter<Hold>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A point that is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldPoint {
    /// The time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The transaction that a restore to this time leads to; `None` if the replica has nothing as
    /// old as that.
    pub txid: Option<Txid>,
    /// Why, for people.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(count: usize) -> Vec<Hold> {
        let hold = Hold {
            at_ms: 7,
            reason: "case\n7".into(),
        };
        vec![hold; count]
    }

    #[test]
    fn without_a_list_of_holds_or_with_too_long_a_one_nothing_may_be_deleted() {
        assert_eq!(Holds::accept(None), Err(HoldsPause::Unknown));
        assert!(Holds::accept(Some(holds(HOLDS_MAX))).is_ok());
        let many = Holds::accept(Some(holds(HOLDS_MAX + 1)));
        assert_eq!(many, Err(HoldsPause::TooMany { count: 1001 }));
    }

    #[test]
    fn the_reason_of_a_hold_cannot_forge_a_line() {
        let held: Vec<Hold> = Holds::accept(Some(holds(1))).unwrap().into_iter().collect();
        assert_eq!(held[0].reason, "case\\u{a}7");
    }
}
