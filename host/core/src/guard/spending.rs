//! Days of policies that ask for too much: whatever they answer, no request budget is exceeded, and
//! no commit waits longer than is configured.

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};

use super::budget::{self, Budget, Class};
use super::merges;
use super::proposals;
use crate::compaction;
use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::Levels;
use crate::policy::{
    CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, SnapshotFacts,
    SyncFacts, SyncProposal, VerificationFacts,
};

const SYNC_INTERVAL_MS: u64 = 60_000;
const CHECKPOINT_INTERVAL_MS: u64 = 600_000;
const SNAPSHOT_INTERVAL_MS: u64 = 8 * 60 * 60 * 1000;
const VALIDATION_INTERVAL_MS: u64 = 12 * 60 * 60 * 1000;
const LEVEL_MS: u64 = 300_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const START_MS: u64 = 1_764_237_600_000;

/// What a policy is asked, how often at once, and what it answers.
#[derive(Clone, Copy, Debug)]
enum Question {
    Sync { wait_ms: u64 },
    Checkpoint(CheckpointProposal),
    Snapshot,
    Verification,
    Merge { inputs: u8 },
}

#[derive(Clone, Debug)]
struct Step {
    pause_ms: u64,
    times: u16,
    question: Question,
}

fn any_step() -> impl Strategy<Value = Step> {
    use CheckpointProposal::{None as Leave, Passive, Truncate};
    let wait_ms = prop_oneof![3 => Just(0), 1 => 0..90_000_u64, 1 => any::<u64>()];
    let checkpoint = prop_oneof![Just(Leave), Just(Passive), Just(Truncate)];
    let question = prop_oneof![
        3 => wait_ms.prop_map(|wait_ms| Question::Sync { wait_ms }),
        2 => checkpoint.prop_map(Question::Checkpoint),
        2 => Just(Question::Snapshot),
        2 => Just(Question::Verification),
        2 => (1..4_u8).prop_map(|inputs| Question::Merge { inputs }),
    ];
    let pause_ms = prop_oneof![0..2_000_u64, 1_000..100_000_u64, 0..DAY_MS / 4];
    // What is asked for all the time spends most.
    let times = prop_oneof![3 => 1..20_u16, 1 => 100..400_u16];
    (pause_ms, times, question).prop_map(|(pause_ms, times, question)| Step {
        pause_ms,
        times,
        question,
    })
}

/// What was done, and how much of that no schedule asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    all: u64,
    extra: u64,
}

struct Days {
    /// The class whose budget the guard does not look at, to see whether that is noticed.
    ignored: Option<Class>,
    now_ms: u64,
    budget: Budget,
    uploads: Spent,
    snapshots: Spent,
    merges: Spent,
    verifications: Spent,
    last_sync_ms: u64,
    last_checkpoint_ms: u64,
    last_verification_ms: u64,
    snapshot: ReplicaFile,
    durable: u64,
    merged: u64,
}

impl Days {
    fn new(ignored: Option<Class>) -> Self {
        Self {
            ignored,
            now_ms: START_MS,
            budget: Budget::default(),
            uploads: Spent::default(),
            snapshots: Spent::default(),
            merges: Spent::default(),
            verifications: Spent::default(),
            last_sync_ms: START_MS,
            last_checkpoint_ms: START_MS,
            last_verification_ms: START_MS,
            snapshot: snapshot(1, START_MS),
            durable: 1,
            merged: 1,
        }
    }

    fn left(&self, class: Class) -> u32 {
        if self.ignored == Some(class) {
            return u32::MAX;
        }
        self.budget.left(class, self.now_ms)
    }

    fn pay(&mut self, class: Class, count: u32, cost: u32) {
        self.budget.spend(class, cost, self.now_ms);
        let spent = match class {
            Class::Upload => &mut self.uploads,
            Class::Snapshot => &mut self.snapshots,
            Class::Merge => &mut self.merges,
            Class::Verification => &mut self.verifications,
        };
        spent.all += u64::from(count);
        spent.extra += u64::from(cost);
    }

    fn ask(&mut self, question: Question) -> TestCaseResult {
        match question {
            Question::Sync { wait_ms } => return self.sync(wait_ms),
            Question::Checkpoint(proposal) => self.checkpoint(proposal),
            Question::Snapshot => self.snapshot(),
            Question::Verification => self.verification(),
            Question::Merge { inputs } => self.merge(u64::from(inputs)),
        }
        Ok(())
    }

    /// A commit comes and waits as long as it may.
    fn sync(&mut self, wait_ms: u64) -> TestCaseResult {
        let committed_ms = self.now_ms;
        loop {
            let facts = SyncFacts {
                oldest_pending_age_ms: self.now_ms - committed_ms,
                since_last_sync_ms: Some(self.now_ms - self.last_sync_ms),
                sync_interval_ms: SYNC_INTERVAL_MS,
                budget_left: self.left(Class::Upload),
                ..SyncFacts::default()
            };
            let wait_ms = proposals::sync(&facts, SyncProposal { wait_ms })
                .decision
                .wait_ms;
            self.pay(Class::Upload, 0, budget::of_sync(&facts, wait_ms));
            if wait_ms == 0 {
                break;
            }
            self.now_ms += wait_ms;
            prop_assert!(self.now_ms - committed_ms <= SYNC_INTERVAL_MS);
        }
        self.pay(Class::Upload, 1, 0);
        self.last_sync_ms = self.now_ms;
        self.durable += 1;
        Ok(())
    }

    fn checkpoint(&mut self, proposal: CheckpointProposal) {
        let facts = CheckpointFacts {
            wal_pages: 1,
            since_last_checkpoint_ms: self.now_ms - self.last_checkpoint_ms,
            written_since_last_checkpoint: true,
            min_checkpoint_pages: 1000,
            truncate_pages: 5000,
            checkpoint_interval_ms: CHECKPOINT_INTERVAL_MS,
            budget_left: self.left(Class::Upload),
            ..CheckpointFacts::default()
        };
        let decision = proposals::checkpoint(&facts, proposal).decision;
        if decision != CheckpointProposal::None {
            let cost = budget::of_checkpoint(&facts, decision);
            self.pay(Class::Upload, 1, cost);
            self.last_checkpoint_ms = self.now_ms;
            self.durable += 1;
        }
        self.now_ms += proposals::CHECKPOINT_PAUSE_MIN_MS;
    }

    fn snapshot(&mut self) {
        self.durable += 1;
        let facts = SnapshotFacts {
            now_ms: self.now_ms,
            durable: self.durable,
            snapshots: vec![self.snapshot],
            snapshot_interval_ms: SNAPSHOT_INTERVAL_MS,
            budget_left: self.left(Class::Snapshot),
            ..SnapshotFacts::default()
        };
        if proposals::snapshot(&facts, Some("more")).decision.is_some() {
            self.pay(Class::Snapshot, 1, budget::of_snapshot(&facts));
            self.snapshot = snapshot(self.durable, self.now_ms);
        }
        self.now_ms += proposals::SNAPSHOT_PAUSE_MIN_MS;
    }

    fn verification(&mut self) {
        let facts = VerificationFacts {
            durable: 1,
            since_last_verification_ms: self.now_ms - self.last_verification_ms,
            validation_interval_ms: VALIDATION_INTERVAL_MS,
            budget_left: self.left(Class::Verification),
            ..VerificationFacts::default()
        };
        let decision = proposals::verification(&facts, Some("more")).decision;
        if decision.is_some() {
            self.pay(Class::Verification, 1, budget::of_verification(&facts));
            self.last_verification_ms = self.now_ms;
        }
        self.now_ms += proposals::VERIFICATION_PAUSE_MIN_MS;
    }

    /// A few files wait, half of them from this round; all merges take `inputs` of them.
    fn merge(&mut self, inputs: u64) {
        let first = self.merged + 1;
        let file = |n: u64| ReplicaFile {
            level: Level::L0,
            name: FileName::new(TxidRange::single(Txid::new(n).unwrap())),
            size: 200,
            created_ms: self.created_ms(n - first),
        };
        let mut files: Vec<_> = (first..first + 12).map(file).collect();
        files.push(snapshot(self.merged, 0));
        let levels = Levels::new(&[LEVEL_MS]).unwrap();
        let facts = CompactionFacts {
            budget_left: self.left(Class::Merge),
            ..compaction::facts(&Inventory::new(files), &levels, self.now_ms)
        };
        let proposal = |n: u64| {
            let min = Txid::new(first + n * inputs)?;
            Some(CompactionProposal {
                level: Level::new(1)?,
                range: TxidRange::new(min, Txid::new(min.get() + inputs - 1)?)?,
                reason: String::new(),
            })
        };
        let asked: Vec<_> = (0..12 / inputs).filter_map(proposal).collect();
        let found = merges::accept(&facts, &asked);
        let count = u32::try_from(found.accepted.len()).unwrap();
        self.pay(Class::Merge, count, found.cost);
        if let Some(last) = found.accepted.last() {
            self.merged = last.range().max().get();
        }
        self.now_ms += 15_000;
    }

    /// Of the file with this place in the row.
    fn created_ms(&self, place: u64) -> i64 {
        let age_ms = if place < 6 { LEVEL_MS } else { 0 };
        (self.now_ms - age_ms).cast_signed()
    }

    fn check(&self) -> TestCaseResult {
        let passed_ms = self.now_ms - START_MS;
        let scheduled = |interval_ms: u64| passed_ms / interval_ms + 2;
        let classes = [
            (
                Class::Upload,
                self.uploads,
                scheduled(SYNC_INTERVAL_MS) + scheduled(CHECKPOINT_INTERVAL_MS),
            ),
            (
                Class::Snapshot,
                self.snapshots,
                scheduled(SNAPSHOT_INTERVAL_MS),
            ),
            (
                Class::Verification,
                self.verifications,
                scheduled(VALIDATION_INTERVAL_MS),
            ),
        ];
        for (class, spent, scheduled) in classes {
            prop_assert!(spent.extra <= self.extra(class), "{class:?}: {spent:?}");
            let most = scheduled + self.extra(class);
            prop_assert!(spent.all <= most, "{class:?}: {} of {most}", spent.all);
        }
        let extra = self.merges.extra;
        prop_assert!(extra <= self.extra(Class::Merge), "{extra} merges");
        Ok(())
    }

    /// The most that the allowance of a class is for, until now.
    fn extra(&self, class: Class) -> u64 {
        let allowance = class.allowance();
        let passed_ms = self.now_ms - START_MS;
        u64::from(allowance.at_once) + passed_ms * u64::from(allowance.per_day) / DAY_MS
    }
}

fn snapshot(max: u64, created_ms: u64) -> ReplicaFile {
    let range = TxidRange::new(Txid::FIRST, Txid::new(max).unwrap()).unwrap();
    ReplicaFile {
        level: Level::SNAPSHOT,
        name: FileName::new(range),
        size: 200,
        created_ms: created_ms.cast_signed(),
    }
}

fn live(steps: &[Step], ignored: Option<Class>) -> TestCaseResult {
    let mut days = Days::new(ignored);
    for step in steps {
        days.now_ms += step.pause_ms;
        for _ in 0..step.times {
            days.ask(step.question)?;
        }
        days.check()?;
    }
    Ok(())
}

/// The days of one seed, so that a failure comes again.
fn run(cases: u32, shrink: u32, ignored: Option<Class>) -> Result<(), TestError<Vec<Step>>> {
    let config = Config {
        cases,
        max_shrink_iters: shrink,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let steps = prop::collection::vec(any_step(), 1..12);
    TestRunner::new_with_rng(config, rng).run(&steps, |steps| live(&steps, ignored))
}

#[test]
fn whatever_a_policy_answers_no_request_budget_is_exceeded() {
    if let Err(error) = run(50_000, 10_000, None) {
        panic!("{error}");
    }
}

#[test]
fn a_guard_that_ignores_the_budget_of_any_one_class_is_caught() {
    for class in [
        Class::Upload,
        Class::Snapshot,
        Class::Merge,
        Class::Verification,
    ] {
        let found = run(50_000, 0, Some(class));
        assert!(matches!(found, Err(TestError::Fail(..))), "{class:?}");
    }
}
