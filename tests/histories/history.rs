//! What happens in a history: a function of its seed.

use std::fmt;

use lockkeeper_tests::changes::Change;
use lockkeeper_tests::subject::{Act, Checkpoint};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt as _, SeedableRng as _};

/// Bytes that one change writes at most.
const CHANGE_BYTES_MAX: u32 = 300_000;
const ROUNDS: std::ops::RangeInclusive<u32> = 3..=4;
const ACTS_WHILE_DOWN_MAX: u32 = 3;
const ACTS: std::ops::RangeInclusive<u32> = 5..=12;
const CHANGES_MAX: u32 = 3;
const CHECKPOINTS: [Checkpoint; 4] = [
    Checkpoint::Passive,
    Checkpoint::Full,
    Checkpoint::Restart,
    Checkpoint::Truncate,
];
const BURST: std::ops::RangeInclusive<u32> = 5..=60;

/// One history.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// What does not change in a history.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) page_size: u32,
    pub(crate) auto_vacuum: u32,
    /// Pages after which the application checkpoints by itself; 0 for never.
    pub(crate) auto_checkpoint: u32,
    /// Whether pages are compressed as old releases expect it, and the official program is one.
    pub(crate) frames: bool,
    pub(crate) writers: Writers,
    /// Keys of the database in `litestream.yml`.
    pub(crate) min_checkpoint_pages: u32,
    pub(crate) truncate_pages: u32,
    pub(crate) sync_bytes_max: u32,
}

/// Who replicates in a history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Writers {
    Lockkeeper,
    Litestream,
    InTurn,
}

/// Who replicates, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    /// lockkeeper in the process of the application.
    Within,
    /// lockkeeper in a process of its own.
    Beside,
    /// The official program.
    Litestream,
}

/// What a replica is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// Level 1 has what is durable now.
    Merge,
    /// A snapshot has what is durable now.
    Snapshot,
    /// A file was deleted.
    Deletion,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The application does something.
    Do(Act),
    /// Replication starts; without local state if that is to be forgotten.
    Start { program: Program, forget: bool },
    /// What is committed becomes durable, and is noted; if `restore`, it is restored at once.
    Sync { restore: bool },
    /// The same in the middle of a transaction of the application, without a note.
    SyncWhileWritten,
    /// The replica is waited for.
    Await(Arrival),
    /// Replication ends in peace.
    Stop,
    /// The process that replicates is killed.
    Kill,
    /// The same, after so many commits of a longer burst.
    KillDuring { commits: u32, after: u32 },
    /// Both programs restore the newest state, a transaction and a time that the numbers choose.
    Compare { txid: u32, time: u32 },
}

impl History {
    /// The history of a seed. Seeds that follow each other have different settings.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let settings = Settings::of(seed, &mut random);
        let rounds = random.random_range(ROUNDS);
        let mut author = Author {
            settings: &settings,
            random,
            steps: Vec::new(),
            is_reading: false,
        };
        for round in 1..=rounds {
            author.add_round(round == rounds);
        }
        let steps = author.steps;
        Self { settings, steps }
    }
}

impl Settings {
    fn of(seed: u64, random: &mut StdRng) -> Self {
        let size = u32::try_from(seed % 8).unwrap();
        let mut pick = |choices: &[u32]| *choices.choose(random).unwrap();
        let writers = [Writers::Lockkeeper, Writers::Litestream, Writers::InTurn]
            [usize::try_from(seed % 3).unwrap()];
        // While somebody reads, Litestream waits a second for each checkpoint that truncates.
        let truncate_pages = match writers {
            Writers::Lockkeeper => pick(&[0, 200]),
            Writers::Litestream | Writers::InTurn => 0,
        };
        Self {
            page_size: 512 << size,
            auto_vacuum: u32::try_from(seed / 8 % 3).unwrap(),
            auto_checkpoint: pick(&[0, 30, 1000]),
            frames: pick(&[0, 0, 1]) == 1,
            writers,
            min_checkpoint_pages: pick(&[10, 40, 1000]),
            truncate_pages,
            sync_bytes_max: pick(&[0, 0, 50_000]),
        }
    }
}

/// Writes a history.
struct Author<'a> {
    settings: &'a Settings,
    random: StdRng,
    steps: Vec<Step>,
    /// Whether the application reads in the middle of everything else.
    is_reading: bool,
}

impl Author<'_> {
    fn add_round(&mut self, is_last: bool) {
        for _ in 0..self.random.random_range(0..=ACTS_WHILE_DOWN_MAX) {
            self.add_act();
        }
        let program = self.program();
        let forget = self.random.random_bool(0.2);
        self.steps.push(Step::Start { program, forget });
        for _ in 0..self.random.random_range(ACTS) {
            if self.random.random_bool(0.1) {
                self.add_open_transaction();
            } else {
                self.add_act();
            }
            if self.random.random_bool(0.5) {
                let restore = self.random.random_bool(0.2);
                self.steps.push(Step::Sync { restore });
            }
        }
        if self.random.random_bool(0.5) {
            let all = [Arrival::Merge, Arrival::Snapshot, Arrival::Deletion];
            self.steps
                .push(Step::Await(*all.choose(&mut self.random).unwrap()));
            let changes = changes(&mut self.random);
            self.steps.push(Step::Do(Act::Commit(changes)));
        }
        self.add_end(is_last, program);
        let (txid, time) = (self.random.random(), self.random.random());
        self.steps.push(Step::Compare { txid, time });
    }

    fn program(&mut self) -> Program {
        let is_official = match self.settings.writers {
            Writers::Lockkeeper => false,
            Writers::Litestream => true,
            Writers::InTurn => self.random.random(),
        };
        if is_official {
            Program::Litestream
        } else if self.random.random() {
            Program::Within
        } else {
            Program::Beside
        }
    }

    /// A transaction that is open while replication syncs.
    fn add_open_transaction(&mut self) {
        let changes = changes(&mut self.random);
        let commit = self.random.random();
        self.steps.push(Step::Do(Act::Begin(changes)));
        self.steps.push(Step::SyncWhileWritten);
        self.steps.push(Step::Do(Act::End { commit }));
    }

    fn add_act(&mut self) {
        let random = &mut self.random;
        let act = match random.random_range(0..100) {
            0..8 => Act::RollBack(changes(random)),
            8..15 => Act::Vacuum,
            15..23 => Act::IncrementalVacuum(random.random_range(1..100)),
            23..35 => Act::Checkpoint(*CHECKPOINTS.choose(random).unwrap()),
            35..42 if self.is_reading => Act::EndRead,
            35..42 => Act::BeginRead,
            42..48 => Act::Reopen,
            _ => Act::Commit(changes(random)),
        };
        match act {
            Act::BeginRead => self.is_reading = true,
            Act::EndRead | Act::Reopen => self.is_reading = false,
            _ => {}
        }
        self.steps.push(Step::Do(act));
    }

    fn add_end(&mut self, is_last: bool, program: Program) {
        let end = match self.random.random_range(0..4) {
            _ if is_last => Step::Stop,
            0 => Step::Kill,
            1 => {
                let commits = self.random.random_range(BURST);
                let after = self.random.random_range(0..commits);
                Step::KillDuring { commits, after }
            }
            _ => Step::Stop,
        };
        if program == Program::Within && !matches!(end, Step::Stop) {
            self.is_reading = false;
        }
        self.steps.push(end);
    }
}

fn changes(random: &mut StdRng) -> Vec<Change> {
    let count = random.random_range(1..=CHANGES_MAX);
    (0..count).map(|_| change(random)).collect()
}

fn change(random: &mut StdRng) -> Change {
    // As many small values as large ones: each power of two is as likely as any other.
    let bytes = 1 << random.random_range(0..=CHANGE_BYTES_MAX.ilog2());
    let bytes = random.random_range(bytes / 2..=bytes);
    let rows = 1 << random.random_range(0..=6);
    let rows = (CHANGE_BYTES_MAX / bytes.max(1)).clamp(1, rows);
    let (seed, every) = (random.random(), random.random_range(2..=9));
    match random.random_range(0..20) {
        0..8 => Change::Insert { rows, bytes, seed },
        8..11 => {
            // The index keeps the bytes a second time.
            let bytes = bytes / 2;
            Change::InsertIndexed { rows, bytes, seed }
        }
        11..14 => {
            let bytes = bytes.min(5_000);
            Change::Update { every, bytes, seed }
        }
        14..18 => Change::Delete { every },
        18 => Change::Delete { every: 1 },
        _ => Change::Recreate,
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:3} {step:?}")?;
        }
        Ok(())
    }
}
