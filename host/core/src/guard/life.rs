//! Lives of replicas: whatever happens and whatever a policy answers, what is promised restores.

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};

use super::deletions::{Deletions, Pause, Review, Situation};
use super::holds::Holds;
use super::merges::{self, Merge, MergeRefusal};
use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::Levels;
use crate::live_set::{Need, Window};
use crate::policy::{CompactionFacts, CompactionProposal, Hold, Keep, RetentionFacts};
use crate::restore::{self, Target};
use crate::{compaction, fallback};

/// Short times, so that a life of a few dozen events sees files come and go at every level.
const LEVELS_MS: [u64; 3] = [30_000, 120_000, 600_000];
const L0_RETENTION_MS: u64 = 60_000;
const SNAPSHOT_RETENTION_MS: u64 = 1_200_000;
const START_MS: u64 = 1_764_237_600_000;

/// What happens to a replica.
#[derive(Clone, Debug)]
enum Event {
    /// So many syncs.
    Seal(u8),
    Wait {
        seconds: u64,
    },
    Snapshot,
    /// The default rules for merges, until nothing is left to do.
    Compact,
    /// Merges as a bad policy would ask for them: `(level, min, inputs)`.
    CompactBadly(Vec<(u8, u64, u64)>),
    Retain(KeepSet),
    /// The policy begins to hold what was so many seconds ago.
    Hold {
        seconds_ago: u64,
    },
    /// It holds nothing any more.
    Release,
    /// Files could be deleted, and the policy does not say what it holds.
    RetainUnsaid,
    /// The clock is set.
    Jump {
        seconds: i64,
    },
    /// Somebody deletes a file.
    Lose(prop::sample::Index),
}

/// What a policy wants to keep.
#[derive(Clone, Copy, Debug)]
enum KeepSet {
    Default,
    Nothing,
    /// Every file whose bit is set.
    Some(u64),
}

impl KeepSet {
    fn keeps(self, facts: &RetentionFacts) -> Vec<Keep> {
        let mask = match self {
            Self::Default => return fallback::plan_retention(facts),
            Self::Nothing => 0,
            Self::Some(mask) => mask,
        };
        let files = facts.files.iter().zip((0..64).cycle());
        files
            .filter(|(_, bit)| mask >> bit & 1 == 1)
            .map(|(held, _)| Keep {
                level: held.file.level,
                range: held.file.range(),
                reason: String::new(),
            })
            .collect()
    }
}

/// How a life goes.
#[derive(Clone, Debug)]
struct Life {
    window: Window,
    /// Whether a listing shows when an object was uploaded, as on S3, instead of when its last
    /// transaction was sealed.
    shows_upload_time: bool,
    events: Vec<Event>,
}

fn any_keep_set() -> impl Strategy<Value = KeepSet> {
    prop_oneof![
        Just(KeepSet::Default),
        Just(KeepSet::Nothing),
        any::<u64>().prop_map(KeepSet::Some),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let merge = (0u8..=9, 1u64..12, 0u64..5);
    prop_oneof![
        8 => (1u8..4).prop_map(Event::Seal),
        5 => (1u64..60).prop_map(|seconds| Event::Wait { seconds }),
        3 => (1u64..1300).prop_map(|seconds| Event::Wait { seconds }),
        3 => Just(Event::Snapshot),
        6 => Just(Event::Compact),
        1 => prop::collection::vec(merge, 1..4).prop_map(Event::CompactBadly),
        4 => any_keep_set().prop_map(Event::Retain),
        2 => (0u64..600).prop_map(|seconds_ago| Event::Hold { seconds_ago }),
        1 => Just(Event::Release),
        1 => Just(Event::RetainUnsaid),
    ]
}

fn any_trouble() -> impl Strategy<Value = Event> {
    prop_oneof![
        (-1300i64..1300).prop_map(|seconds| Event::Jump { seconds }),
        any::<prop::sample::Index>().prop_map(Event::Lose),
    ]
}

prop_compose! {
    fn any_life()(
        l0_retention_ms in prop_oneof![1 => Just(0), 4 => Just(L0_RETENTION_MS)],
        shows_upload_time in any::<bool>(),
        mut events in prop::collection::vec(any_event(), 1..48),
        troubles in prop_oneof![
            2 => Just(Vec::new()),
            1 => prop::collection::vec((any::<prop::sample::Index>(), any_trouble()), 1..3),
        ],
    ) -> Life {
        for (at, trouble) in troubles {
            events.insert(at.index(events.len()), trouble);
        }
        Life {
            window: Window {
                snapshot_retention_ms: SNAPSHOT_RETENTION_MS,
                l0_retention_ms,
            },
            shows_upload_time,
            events,
        }
    }
}

/// How the guard is broken, to see whether it is noticed.
#[derive(Clone, Copy, Debug)]
enum Mutant {
    /// It knows one need less.
    Forgets(Need),
    /// It takes no answer for nothing held.
    TakesSilenceForConsent,
}

impl Mutant {
    fn all() -> impl Iterator<Item = Self> {
        let forgets = Need::ALL.into_iter().map(Self::Forgets);
        forgets.chain([Self::TakesSilenceForConsent])
    }
}

struct Replica<'a> {
    life: &'a Life,
    mutant: Option<Mutant>,
    now_ms: u64,
    held_ms: Vec<u64>,
    sealed: u64,
    files: Vec<ReplicaFile>,
    /// Every file of level 1 and higher that ever was a point to restore to.
    points: Vec<ReplicaFile>,
    jumped: bool,
    lost: bool,
}

impl Replica<'_> {
    fn inventory(&self) -> Inventory {
        Inventory::new(self.files.clone())
    }

    fn put(&mut self, level: Level, range: TxidRange, created_ms: u64) {
        let file = ReplicaFile {
            level,
            name: FileName::new(range),
            size: 200,
            created_ms: created_ms.cast_signed(),
        };
        self.files.push(file);
        let is_point = restore::plan(&self.files, Target::Txid(range.max())).is_ok();
        self.points
            .extend((level != Level::L0 && is_point).then_some(file));
    }

    fn happen(&mut self, event: &Event) -> TestCaseResult {
        match event {
            Event::Seal(count) => {
                for _ in 0..*count {
                    self.sealed += 1;
                    let range = TxidRange::single(Txid::new(self.sealed).unwrap());
                    self.put(Level::L0, range, self.now_ms);
                    self.now_ms += 1000;
                }
            }
            Event::Wait { seconds } => self.now_ms += seconds * 1000,
            Event::Snapshot => {
                let newest = self.inventory().newest(Level::SNAPSHOT).copied();
                let end = Txid::new(self.sealed);
                if let Some(end) = end.filter(|end| newest.is_none_or(|it| it.range().max() < *end))
                {
                    let range = TxidRange::new(Txid::FIRST, end).unwrap();
                    self.put(Level::SNAPSHOT, range, self.now_ms);
                }
            }
            Event::Compact => while self.compact(compaction::plan, true)? {},
            Event::CompactBadly(merges) => {
                self.compact(|_| merges.iter().map(bad_merge).collect(), false)?;
            }
            Event::Retain(keep_set) => self.retain(*keep_set, self.holds())?,
            Event::RetainUnsaid => self.retain(KeepSet::Nothing, None)?,
            Event::Hold { seconds_ago } => {
                self.held_ms
                    .push(self.now_ms.saturating_sub(seconds_ago * 1000));
            }
            Event::Release => self.held_ms.clear(),
            Event::Jump { seconds } => {
                self.now_ms = self.now_ms.saturating_add_signed(seconds * 1000);
                self.jumped = true;
            }
            Event::Lose(index) if !self.files.is_empty() => {
                self.files.swap_remove(index.index(self.files.len()));
                self.lost = true;
            }
            Event::Lose(_) => {}
        }
        Ok(())
    }

    /// Whether anything was merged. What `is_scheduled` needs no budget.
    fn compact(
        &mut self,
        plan: impl Fn(&CompactionFacts) -> Vec<CompactionProposal>,
        is_scheduled: bool,
    ) -> Result<bool, TestCaseError> {
        let levels = Levels::new(&LEVELS_MS).unwrap();
        let mut facts = compaction::facts(&self.inventory(), &levels, self.now_ms);
        facts.budget_left = if is_scheduled { 0 } else { u32::MAX };
        let found = merges::accept(&facts, &plan(&facts));
        let is_over = found.refused.contains_key(&MergeRefusal::OverBudget);
        prop_assert!(!(is_scheduled && is_over), "a scheduled merge is refused");
        for merge in &found.accepted {
            self.put(merge.level(), merge.range(), self.merged_at(merge));
        }
        Ok(!found.accepted.is_empty())
    }

    /// What the policy says about holds.
    fn holds(&self) -> Option<Vec<Hold>> {
        let hold = |&at_ms| Hold {
            at_ms,
            reason: String::new(),
        };
        Some(self.held_ms.iter().map(hold).collect())
    }

    fn merged_at(&self, merge: &Merge) -> u64 {
        match merge.inputs().last() {
            Some(last) if !self.life.shows_upload_time => last.created_unix_ms(),
            _ => self.now_ms,
        }
    }

    fn retain(&mut self, keep_set: KeepSet, holds: Option<Vec<Hold>>) -> TestCaseResult {
        let before = self.inventory();
        let review = Review::new(Situation {
            inventory: &before,
            now_ms: self.now_ms,
            window: self.life.window,
            enabled: true,
            verification_failed: false,
        });
        let mut review = match review {
            Ok(review) => review,
            Err(pause) => return self.check_pause(&pause),
        };
        match (Holds::accept(holds), self.mutant) {
            (Ok(holds), _) => drop(review.hold(holds)),
            (Err(_), Some(Mutant::TakesSilenceForConsent)) => {}
            (Err(_), _) => return Ok(()),
        }
        if let Some(Mutant::Forgets(need)) = self.mutant {
            review.forget(need);
        }
        let Deletions { files, .. } = review.decide(&keep_set.keeps(&review.facts()));
        self.files.retain(|file| !files.contains(file));
        self.check_promises(&before)
    }

    fn check_pause(&self, pause: &Pause) -> TestCaseResult {
        let expected = match pause {
            Pause::Unrestorable(_) => self.lost || self.sealed == 0,
            Pause::ClockBehind { .. } => self.jumped,
            Pause::ClockAhead { .. } => true,
            _ => false,
        };
        prop_assert!(expected, "{pause}");
        Ok(())
    }

    /// Whatever could be restored and is promised still can.
    fn check_promises(&self, before: &Inventory) -> TestCaseResult {
        let after = self.inventory();
        let end = |files: &Inventory, target| {
            let plan = restore::plan(files.files(), target);
            plan.ok().map(|plan| plan.txid())
        };
        let newest = end(&after, Target::Latest);
        prop_assert_eq!(
            newest,
            end(before, Target::Latest),
            "the newest transaction"
        );
        prop_assert!(
            self.lost || newest == Txid::new(self.sealed),
            "all that was sealed"
        );
        for level in Level::all() {
            let newest = |files: &Inventory| files.newest(level).map(|file| file.range().max());
            prop_assert_eq!(
                newest(&after),
                newest(before),
                "the newest file of level {}",
                level
            );
        }
        let merged = Level::new(1).and_then(|level| before.newest(level));
        for file in before.files().iter().filter(|file| self.is_promised(file)) {
            let last = Some(file.range().max());
            let txid = Target::Txid(file.range().max());
            if end(&after, txid).is_none() {
                prop_assert_eq!(end(before, txid), None, "the end of {:?}", file);
            }
            let time = Target::Before(file.created_ms + 1);
            if self.times_are_true() && end(&after, time) < last {
                prop_assert!(end(before, time) < last, "the time of {:?}", file);
            }
            let unmerged = file.level == Level::L0
                && merged.is_none_or(|merged| merged.range().max() < file.range().max());
            prop_assert!(
                !unmerged || after.files().contains(file),
                "unmerged {:?}",
                file
            );
        }
        if !self.lost && !self.jumped {
            for point in self.points.iter().filter(|point| self.is_promised(point)) {
                let target = Target::Txid(point.range().max());
                prop_assert!(end(&after, target).is_some(), "the end of {:?}", point);
            }
        }
        self.check_held(before, &after)?;
        self.check_window_start(before, &after)
    }

    /// What is held stays as exact as it was.
    fn check_held(&self, before: &Inventory, after: &Inventory) -> TestCaseResult {
        for at_ms in &self.held_ms {
            let target = Target::Before(at_ms.cast_signed() + 1);
            let end = |files: &Inventory| {
                let plan = restore::plan(files.files(), target);
                plan.ok().map(|plan| plan.txid())
            };
            prop_assert!(end(after) >= end(before), "what was held at {}", at_ms);
        }
        Ok(())
    }

    /// Whether times are in the order of transactions.
    fn times_are_true(&self) -> bool {
        !self.jumped && !self.life.shows_upload_time
    }

    fn is_promised(&self, file: &ReplicaFile) -> bool {
        let window = self.life.window;
        let age_ms = file.age_ms(self.now_ms);
        let is_young = window.l0_retention_ms == 0 || age_ms < window.l0_retention_ms;
        age_ms <= window.snapshot_retention_ms && (file.level != Level::L0 || is_young)
    }

    /// A restore to the beginning of the window, by time, loses no point but those of level 0.
    fn check_window_start(&self, before: &Inventory, after: &Inventory) -> TestCaseResult {
        if !self.times_are_true() {
            return Ok(());
        }
        let start_ms = self.life.window.start_ms(self.now_ms);
        let old = |file: &&ReplicaFile| file.created_unix_ms() < start_ms;
        let old: Vec<ReplicaFile> = before.files().iter().filter(old).copied().collect();
        let points = old.iter().filter(|file| file.level != Level::L0);
        let mut ends: Vec<Txid> = points.map(|file| file.range().max()).collect();
        ends.sort_unstable();
        let can_restore = |end: &&Txid| restore::plan(&old, Target::Txid(**end)).is_ok();
        if let Some(last) = ends.iter().rev().find(can_restore) {
            let plan = restore::plan(after.files(), Target::Before(start_ms.cast_signed()));
            let found = plan.ok().map(|plan| plan.txid());
            prop_assert!(
                found >= Some(*last),
                "{last} at the window's start, found {found:?}"
            );
        }
        Ok(())
    }
}

fn bad_merge(&(level, min, inputs): &(u8, u64, u64)) -> CompactionProposal {
    let txid = |n| Txid::new(n).unwrap();
    CompactionProposal {
        level: Level::new(level).unwrap(),
        range: TxidRange::new(txid(min), txid(min + inputs)).unwrap(),
        reason: String::new(),
    }
}

fn live(life: &Life, mutant: Option<Mutant>) -> TestCaseResult {
    let mut replica = Replica {
        life,
        mutant,
        now_ms: START_MS,
        held_ms: Vec::new(),
        sealed: 0,
        files: Vec::new(),
        points: Vec::new(),
        jumped: false,
        lost: false,
    };
    replica.happen(&Event::Seal(1))?;
    for event in &life.events {
        replica.happen(event)?;
    }
    replica.happen(&Event::Retain(KeepSet::Nothing))
}

/// The lives of one seed, so that a failure comes again.
fn run(cases: u32, max_shrink_iters: u32, mutant: Option<Mutant>) -> Result<(), TestError<Life>> {
    let config = Config {
        cases,
        max_shrink_iters,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng).run(&any_life(), |life| live(&life, mutant))
}

#[test]
fn whatever_a_policy_answers_every_promised_point_can_be_restored() {
    if let Err(error) = run(50_000, 10_000, None) {
        panic!("{error}");
    }
}

#[test]
fn a_guard_that_is_broken_in_any_one_way_is_caught() {
    for mutant in Mutant::all() {
        let found = run(50_000, 0, Some(mutant));
        assert!(matches!(found, Err(TestError::Fail(..))), "{mutant:?}");
    }
}
