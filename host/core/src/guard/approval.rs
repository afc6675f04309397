//! How long a policy may keep the host from going on with the data of a replica.

use super::proposals::{Clamp, Guarded};
use crate::policy::{RestoreAction, RestoreFacts};
use crate::text::printable;

/// How long after the other writer was last heard of a policy can refuse to take its replica over.
/// A policy may protect a writer that is there, not leave the databases of a lost machine without a
/// replica.
pub const OTHER_SEEN_MAX_MS: u64 = 60 * 60 * 1000;
/// Longest reason of a refusal, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// What a policy says about a restore: go on, or why not.
pub type Approval = Result<(), String>;

/// A refused restore is refused: the data stays as it is, and a person can do it by hand. A refused
/// take-over would keep commits from being replicated, so it counts only for a while.
///
/// # Example
///
/// ```
/// use lockkeeper_core::guard::approval::approval;
/// use lockkeeper_core::policy::{RestoreAction, RestoreFacts};
///
/// let facts = RestoreFacts {
///     action: RestoreAction::RestoreMissing,
///     ..RestoreFacts::default()
/// };
/// let refused = approval(&facts, Err("not on a weekend".into()));
/// assert_eq!(refused.decision, Err("not on a weekend".into()));
/// println!("{} was refused", facts.action.name());
/// ```
#[must_use]
pub fn approval(facts: &RestoreFacts, answer: Approval) -> Guarded<Approval> {
    let Err(reason) = answer else {
        return Guarded::kept(Ok(()));
    };
    let was_seen = |seen_ms: u64| facts.now_ms.saturating_sub(seen_ms) <= OTHER_SEEN_MAX_MS;
    if facts.action == RestoreAction::TakeOver && !facts.other_seen_ms.is_some_and(was_seen) {
        return Guarded::changed(Ok(()), Clamp::OtherWriterGone);
    }
    Guarded::kept(Err(printable(&reason, REASON_CHARS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(action: RestoreAction, other_seen_ms: Option<u64>, expected: Guarded<Approval>) {
        let facts = RestoreFacts {
            now_ms: 10 * OTHER_SEEN_MAX_MS,
            action,
            other_seen_ms,
            ..RestoreFacts::default()
        };
        assert_eq!(approval(&facts, Err("no".into())), expected);
        assert_eq!(approval(&facts, Ok(())), Guarded::kept(Ok(())));
    }

    #[test]
    fn a_take_over_can_be_refused_only_while_the_other_writer_is_there() {
        let refused = Guarded::kept(Err("no".into()));
        let goes_on = Guarded::changed(Ok(()), Clamp::OtherWriterGone);
        let seen = 9 * OTHER_SEEN_MAX_MS;
        check(RestoreAction::TakeOver, Some(seen), refused.clone());
        check(RestoreAction::TakeOver, Some(u64::MAX), refused.clone());
        check(RestoreAction::TakeOver, Some(seen - 1), goes_on.clone());
        check(RestoreAction::TakeOver, None, goes_on);
        check(RestoreAction::RestoreMissing, None, refused);
    }
}
