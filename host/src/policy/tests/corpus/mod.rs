//! What components can do to harm, and that none of them does.
//!
//! Each component of [`hostile::all`] is asked for everything, several times. Whatever it does,
//! what comes out is within what the guard allows, commits are sealed as soon as under the default
//! component, and the component is not asked for longer than it may take.

mod files;
mod hostile;
mod write_path;

use std::collections::BTreeMap;
use std::time::Duration;

use lockkeeper_core::guard::alerts::{ALERTS_MAX, AlertDesk};
use lockkeeper_core::policy::RestoreAction;

use self::write_path::{CALL_MS, WritePath};
use super::super::sandbox::DECISION;
use super::super::strikes::TIME_MAX;
use super::super::testing::Guest;
use super::super::{Component, Policy, PolicySource};
use super::*;

/// Fewer components than this would leave some way untried.
const COMPONENTS_MIN: usize = 40;
/// Lines in the log for all of it.
const LINES_MAX: usize = 100;
/// How often each decision is asked for: more than it takes to be set aside.
const ROUNDS: u32 = 4;

#[test]
fn the_corpus_is_large_and_no_two_components_are_the_same() {
    let hostile = hostile::all().into_iter();
    let hostile = hostile.map(|(name, guest)| (name, guest.build()));
    let files = files::all().into_iter();
    let files = files.map(|(name, bytes, _)| (name, bytes));
    let mut known = BTreeMap::new();
    for (name, bytes) in hostile.chain(files) {
        let other = known.insert(bytes, name);
        assert_eq!(other, None, "{name}");
    }
    assert!(known.len() >= COMPONENTS_MIN, "{}", known.len());
}

#[test]
fn files_that_are_no_policy_are_refused_in_words() {
    for (name, bytes, because) in files::all() {
        let found = Component::load(&PolicySource::Bytes(bytes));
        let error = found.expect_err(name).to_string();
        assert!(
            error.contains(because),
            "{name}: {because:?} is not in {error}"
        );
        assert!(error.len() < 1500, "{name}: {error}");
        assert!(!error.contains(char::is_control), "{name}: {error:?}");
    }
}

/// The parts of the corpus, so that they are tried side by side.
fn part(number: usize) -> impl Iterator<Item = (&'static str, Guest)> {
    let parts = hostile::all().into_iter().enumerate();
    parts.filter_map(move |(at, it)| (at % 4 == number).then_some(it))
}

#[test]
fn a_first_quarter_of_the_corpus_is_contained() {
    part(0).for_each(|(name, guest)| check(name, &guest));
}

#[test]
fn a_second_quarter_of_the_corpus_is_contained() {
    part(1).for_each(|(name, guest)| check(name, &guest));
}

#[test]
fn a_third_quarter_of_the_corpus_is_contained() {
    part(2).for_each(|(name, guest)| check(name, &guest));
}

#[test]
fn a_fourth_quarter_of_the_corpus_is_contained() {
    part(3).for_each(|(name, guest)| check(name, &guest));
}

#[track_caller]
fn check(name: &str, guest: &Guest) {
    let component = match guest.load() {
        Ok(component) => component,
        Err(error) => {
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{name}: {error}");
            return;
        }
    };
    let policy = Policy::new(component.clone());
    let log = logged(|| {
        for _ in 0..ROUNDS {
            decisions_are_within_bounds(name, &policy);
        }
        let usual = WritePath::under(&Policy::new(default_component()), CALL_MS);
        // One that was asked often, and a fresh one: what is set aside already harms nobody.
        WritePath::under(&policy, 0).is_as_good_as(&usual, name);
        let fresh = Policy::new(component);
        WritePath::under(&fresh, CALL_MS).is_as_good_as(&usual, name);
    });
    let lines = log.lines().filter(|line| !line.contains("TRACE"));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() < LINES_MAX, "{name}: {lines:#?}");
    assert!(!log.contains('\u{1b}'), "{name}");
    let stats = policy.stats();
    let most = TIME_MAX + DECISION.deadline + Duration::from_secs(1);
    let is_quick = stats.time < most || stats.time / u32::try_from(stats.calls).unwrap() < QUICK;
    assert!(is_quick, "{name}: {stats:?}");
}

/// Beside this, a decision of a component that does no harm is as slow as its instance.
const QUICK: Duration = Duration::from_millis(10);

fn default_component() -> Component {
    Component::load(&PolicySource::Embedded).unwrap()
}

fn decisions_are_within_bounds(name: &str, policy: &Policy) {
    assert!(policy.plan_sync(&sync_facts()) <= 1000, "{name}");
    let small = CheckpointFacts {
        wal_pages: 1,
        ..checkpoint_facts()
    };
    let checkpoint = policy.plan_checkpoint(&small);
    assert_eq!(checkpoint, CheckpointProposal::None, "{name}: too soon");
    assert!(policy.plan_snapshot(&snapshot_facts()).is_some(), "{name}");
    let overdue = VerificationFacts {
        since_last_verification_ms: 9000,
        ..verification_facts()
    };
    assert!(policy.plan_verification(&overdue).is_some(), "{name}");

    let facts = compaction_facts();
    for merge in policy.plan_compaction(&facts).accepted {
        let waiting = &facts.levels[0].waiting.files;
        assert!(waiting.starts_with(merge.inputs()), "{name}: {merge:?}");
    }
    let inventory = inventory();
    let mut review = Review::new(situation(&inventory)).unwrap();
    if let Ok(holds) = policy.plan_holds(&review.hold_facts("app.db")) {
        review.hold(holds);
        for file in policy.plan_retention(&review).files {
            let facts = review.facts();
            let held = facts.files.iter().find(|held| held.file == file);
            assert_eq!(held.unwrap().need, None, "{name}: {file:?}");
        }
    }
    let gone = RestoreFacts {
        action: RestoreAction::TakeOver,
        now_ms: u64::MAX,
        ..RestoreFacts::default()
    };
    assert_eq!(policy.approve_restore(&gone), Ok(()), "{name}");
    let alerts = alerts(policy, &event());
    let admitted = AlertDesk::default().admit(&event(), alerts);
    assert!(admitted.raised.len() <= ALERTS_MAX, "{name}");
}
