//! A database, its replica and the processes around it, as a history goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper::restore::Target;
use lockkeeper::store::Replica;
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_ltx::{Level, Txid, TxidRange};
use lockkeeper_tests::litestream::Litestream;
use lockkeeper_tests::subject::{Act, Answer, Order, Subject};
use lockkeeper_tests::{database, replica};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Officials;
use crate::compare::{Comparison, Picks};
use crate::history::{Arrival, History, Program, Settings, Step};
use crate::replicator::{self, Replicator};
use crate::truth::Truth;
use crate::waiting;

const APP: &str = env!("CARGO_BIN_EXE_lockkeeper-test-app");
/// How often a state is read again because a checkpoint committed something meanwhile.
const READ_TRIES: u32 = 50;
/// The same for Litestream: while somebody reads, it commits something with every sync, and may
/// take a second for it.
const READ_TRIES_OFFICIAL: u32 = 4;
/// How long Litestream gets for what it does by itself.
const OFFICIAL_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct World<'a> {
    dir: TempDir,
    settings: &'a Settings,
    /// The official program that replicates.
    writer: &'a Litestream,
    /// The official programs that restore.
    readers: Vec<&'a Litestream>,
    runtime: Runtime,
    app: Option<Subject>,
    replicator: Option<Replicator>,
    truth: Truth,
    /// Whether the replicator has synced.
    has_begun: bool,
    /// Whether replication ended in peace, and nothing was written since.
    is_complete: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(history: &'a History, officials: &'a Officials) -> Self {
        let settings = &history.settings;
        let (writer, readers) = if settings.frames {
            let both = vec![&officials.newest, &officials.frames_only];
            (&officials.frames_only, both)
        } else {
            (&officials.newest, vec![&officials.newest])
        };
        let mut world = Self {
            dir: tempfile::tempdir().unwrap(),
            settings,
            writer,
            readers,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            app: None,
            replicator: None,
            truth: Truth::new(),
            has_begun: false,
            is_complete: false,
        };
        std::fs::create_dir(world.replica()).unwrap();
        let mut app = Subject::start(APP, world.dir.path());
        let created = app.ask(&Order::Create {
            page_size: settings.page_size,
            auto_vacuum: settings.auto_vacuum,
        });
        assert!(matches!(created, Answer::Done), "{created:?}");
        world.open(app);
        world
    }

    pub(crate) fn run(&mut self, step: &Step) {
        match step {
            Step::Do(act) => self.act(act),
            Step::Start { program, forget } => self.start(*program, *forget),
            Step::Sync { restore } => self.sync(*restore),
            Step::SyncWhileWritten => self.sync_while_written(),
            Step::Await(arrival) => self.wait_for(*arrival),
            Step::Stop => self.stop(),
            Step::Kill => self.kill(),
            Step::KillDuring { commits, after } => self.kill_during(*commits, *after),
            Step::Compare { txid, time } => Comparison {
                replica: &self.replica(),
                readers: &self.readers,
                runtime: &self.runtime,
                truth: &self.truth,
            }
            .run(Picks {
                txid: *txid,
                time: *time,
                is_complete: self.is_complete,
            }),
        }
    }

    /// Ends what runs in peace.
    pub(crate) fn end(mut self) {
        self.app.take().unwrap().quit();
    }

    fn replica(&self) -> PathBuf {
        self.dir.path().join("replica")
    }

    fn app(&mut self) -> &mut Subject {
        self.app.as_mut().unwrap()
    }

    /// Opens the database in a new process of the application.
    fn open(&mut self, mut app: Subject) {
        let answer = app.ask(&Order::Open {
            auto_checkpoint: self.settings.auto_checkpoint,
        });
        self.app = Some(app);
        self.note(answer);
    }

    /// Notes what the application says of its database; returns whether that was all.
    fn note(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::State(state) => self.truth.holds(state),
            Answer::Done => return true,
            answer => panic!("{answer:?}"),
        }
        false
    }

    fn act(&mut self, act: &Act) {
        let answer = self.app().ask(&Order::Do(act.clone()));
        self.is_complete = false;
        self.note(answer);
    }

    fn start(&mut self, program: Program, forget: bool) {
        if forget {
            let state = database::state_directory(&self.dir.path().join("app.db"));
            // It is not there before the first start.
            let _ = std::fs::remove_dir_all(state);
        }
        let order = Order::Replicate {
            config: replicator::config(self.dir.path(), self.settings),
            frames: self.settings.frames,
        };
        let replicator = match program {
            Program::Within => {
                assert_done(&self.app().ask(&order));
                Replicator::Within
            }
            Program::Beside => {
                let mut process = Subject::start(APP, self.dir.path());
                assert_done(&process.ask(&order));
                Replicator::Beside(process)
            }
            Program::Litestream => {
                Replicator::litestream(self.writer, self.dir.path(), self.settings)
            }
        };
        self.replicator = Some(replicator);
        self.has_begun = false;
        self.is_complete = false;
    }

    /// Makes durable what is committed; returns the last transaction.
    fn make_durable(&mut self) -> Txid {
        let replicator = self.replicator.as_mut().unwrap();
        let app = self.app.as_mut().unwrap();
        let durable = waiting::until_done("a sync", || {
            replicator.sync(app, self.dir.path(), &self.runtime)
        });
        self.has_begun = true;
        durable
    }

    fn sync(&mut self, restore: bool) {
        for _ in 0..if self.is_official() {
            READ_TRIES_OFFICIAL
        } else {
            READ_TRIES
        } {
            let before = self.make_durable();
            self.copy();
            let restored = tempfile::tempdir().unwrap();
            let path = restored.path().join(replica::RESTORED);
            // Litestream may say of commits that they are durable before they are.
            let restore = restore || self.is_official();
            if restore {
                self.restore_newest(restored.path());
            }
            if self.is_official() && !self.truth.is_copied(&path) {
                continue;
            }
            // A checkpoint commits a small change of its own; then it is looked at again.
            if self.make_durable() == before {
                self.truth.is_durable();
                // Litestream's snapshots may hold more than their transaction says.
                if !self.is_official() {
                    self.truth.is_known(before);
                }
                if restore {
                    self.truth.check(before, &path, "the newest state");
                }
                return;
            }
        }
        assert!(self.is_official(), "the database is never at rest");
    }

    fn sync_while_written(&mut self) {
        let replicator = self.replicator.as_mut().unwrap();
        let app = self.app.as_mut().unwrap();
        let synced = replicator.sync(app, self.dir.path(), &self.runtime);
        // To begin, both programs have to write themselves; Litestream later as well.
        let may_fail = self.is_official() || !self.has_begun;
        assert!(synced.is_ok() || may_fail, "{synced:?}");
    }

    fn is_official(&self) -> bool {
        matches!(self.replicator, Some(Replicator::Litestream { .. }))
    }

    fn restore_newest(&self, output: &Path) {
        let replica = self.replica();
        let restore = replica::try_restore_into(&replica, Target::Latest, output);
        if let Err(error) = self.runtime.block_on(restore) {
            panic!("cannot restore while it is written: {error}");
        }
    }

    fn copy(&mut self) {
        let order = Order::Copy(self.truth.copy());
        assert_done(&self.app().ask(&order));
    }

    fn wait_for(&mut self, arrival: Arrival) {
        let durable = self.make_durable();
        let files = self.files();
        let has_passed = |files: &[ReplicaFile], level: Level| {
            let mut ends = files.iter().filter(|file| file.level == level);
            ends.any(|file| TxidRange::max(file.range()) >= durable)
        };
        let is_so = || {
            let now = self.files();
            match arrival {
                Arrival::Merge => has_passed(&now, Level::new(1).unwrap()),
                Arrival::Snapshot => has_passed(&now, Level::SNAPSHOT),
                Arrival::Deletion => {
                    let is_there = |file: &ReplicaFile| now.iter().any(|it| it.name == file.name);
                    !files.iter().all(is_there)
                }
            }
        };
        if self.is_official() {
            // What the other program does not come to is no fault of ours.
            waiting::in_folder(&self.replica(), OFFICIAL_DEADLINE, is_so);
        } else {
            let has_come = waiting::in_folder(&self.replica(), waiting::DEADLINE, is_so);
            assert!(has_come, "{arrival:?} takes too long");
        }
    }

    fn files(&self) -> Vec<ReplicaFile> {
        let replica = Replica::file(self.replica()).unwrap();
        self.runtime.block_on(replica.list_all()).unwrap()
    }

    fn stop(&mut self) {
        let is_official = self.is_official();
        if is_official {
            // It flushes only databases that it has opened already.
            self.make_durable();
        }
        match self.replicator.take().unwrap() {
            Replicator::Within => assert_done(&self.app().ask(&Order::Stop)),
            Replicator::Beside(mut process) => {
                assert_done(&process.ask(&Order::Stop));
                process.quit();
            }
            Replicator::Litestream { running, .. } => {
                let ended = running.terminate();
                assert!(ended.status.success(), "{ended:#?}");
            }
        }
        self.is_complete = true;
        if is_official {
            // Its last checkpoint may commit a small change of its own.
            return;
        }
        let ends = self.files().into_iter().map(|file| file.range().max());
        let last = ends.max().unwrap();
        self.copy();
        self.truth.is_durable();
        self.truth.is_known(last);
    }

    fn kill(&mut self) {
        match self.replicator.take().unwrap() {
            Replicator::Within => {
                // It may have committed more than was listened to.
                for answer in self.app.take().unwrap().kill() {
                    if let Answer::State(state) = answer {
                        self.truth.holds(state);
                    }
                }
                self.open(Subject::start(APP, self.dir.path()));
            }
            Replicator::Beside(process) => drop(process.kill()),
            Replicator::Litestream { running, .. } => drop(running.kill()),
        }
    }

    fn kill_during(&mut self, commits: u32, after: u32) {
        self.app().tell(&Order::Burst(commits));
        for _ in 0..after {
            let answer = self.app().answer();
            self.note(answer);
        }
        let is_within = matches!(self.replicator, Some(Replicator::Within));
        self.kill();
        if is_within {
            return;
        }
        loop {
            let answer = self.app().answer();
            if self.note(answer) {
                return;
            }
        }
    }
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert!(matches!(answer, Answer::Done), "{answer:?}");
}
