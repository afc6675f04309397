//! Does what a test says, order by order.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockkeeper::Lockkeeper;
use lockkeeper_tests::changes::{self, Change};
use lockkeeper_tests::database;
use lockkeeper_tests::subject::{ANSWER, Act, Answer, Checkpoint, Order};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::runtime::Runtime;

/// Pages that a connection keeps, so that a large transaction is in the log before it ends.
const CACHE_PAGES: u32 = 10;
/// How long a checkpoint waits for readers, some of which stay.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(20);
/// How long replication may take to flush.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes that each commit of a burst writes.
const BURST_BYTES: u32 = 700;

type Outcome = Result<Answer, Box<dyn Error>>;

/// Obeys until its input ends.
pub(crate) fn serve(folder: &Path) {
    crate::log_warnings();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("make a runtime");
    let mut served = Served {
        path: folder.join("app.db"),
        auto_checkpoint: 0,
        app: None,
        reader: None,
        keeper: None,
        runtime,
    };
    for line in stdin().lock().lines() {
        let line = line.expect("read an order");
        let order = serde_json::from_str(&line).expect("understand an order");
        let answer = served.obey(order);
        say(&answer.unwrap_or_else(|error| Answer::Failed(error.to_string())));
    }
}

fn say(answer: &Answer) {
    let answer = serde_json::to_string(answer).expect("an answer can be written");
    println!("{ANSWER}{answer}");
}

struct Served {
    path: PathBuf,
    auto_checkpoint: u32,
    app: Option<Connection>,
    /// A connection in the middle of a read.
    reader: Option<Connection>,
    keeper: Option<Lockkeeper>,
    runtime: Runtime,
}

impl Served {
    fn obey(&mut self, order: Order) -> Outcome {
        match order {
            Order::Create {
                page_size,
                auto_vacuum,
            } => self.create(page_size, auto_vacuum),
            Order::Open { auto_checkpoint } => {
                self.auto_checkpoint = auto_checkpoint;
                self.open()
            }
            Order::Do(act) => self.act(act),
            Order::Burst(count) => self.burst(count),
            Order::Copy(to) => {
                // A transaction may be open in the other connection.
                std::fs::write(to, database::bytes(&mut database::open(&self.path)))?;
                Ok(Answer::Done)
            }
            Order::Replicate { config, frames } => {
                let builder = Lockkeeper::builder()
                    .config(config)
                    .log_to(tracing::dispatcher::get_default(Clone::clone))
                    .page_encoding(Order::encoding(frames));
                self.keeper = Some(self.runtime.block_on(builder.start())?);
                Ok(Answer::Done)
            }
            Order::Sync => {
                let keeper = self.keeper.as_ref().ok_or("nothing is replicated")?;
                let synced = self.runtime.block_on(keeper.sync_database(&self.path))?;
                let durable = synced.durable.ok_or("nothing is durable")?;
                Ok(Answer::Durable(durable.get()))
            }
            Order::Stop => {
                let keeper = self.keeper.take().ok_or("nothing is replicated")?;
                self.runtime.block_on(keeper.stop(STOP_DEADLINE))?;
                Ok(Answer::Done)
            }
        }
    }

    fn create(&self, page_size: u32, auto_vacuum: u32) -> Outcome {
        let first = Connection::open(&self.path)?;
        first.pragma_update(None, "page_size", page_size)?;
        first.pragma_update(None, "auto_vacuum", auto_vacuum)?;
        changes::create(&first)?;
        Ok(Answer::Done)
    }

    fn open(&mut self) -> Outcome {
        let app = database::open(&self.path);
        app.pragma_update(None, "wal_autocheckpoint", self.auto_checkpoint)?;
        app.pragma_update(None, "cache_size", CACHE_PAGES)?;
        self.app = Some(app);
        self.state()
    }

    fn app(&mut self) -> Result<&mut Connection, Box<dyn Error>> {
        Ok(self.app.as_mut().ok_or("the database is not open")?)
    }

    fn state(&mut self) -> Outcome {
        Ok(Answer::State(changes::state(self.app()?)?))
    }

    fn act(&mut self, act: Act) -> Outcome {
        match act {
            Act::Commit(changes) => {
                self.begin(&changes)?;
                self.app()?.execute_batch("COMMIT")?;
            }
            Act::RollBack(changes) => {
                self.begin(&changes)?;
                self.app()?.execute_batch("ROLLBACK")?;
            }
            Act::Begin(changes) => {
                self.begin(&changes)?;
                return Ok(Answer::Done);
            }
            Act::End { commit } => {
                let end = if commit { "COMMIT" } else { "ROLLBACK" };
                self.app()?.execute_batch(end)?;
            }
            Act::Vacuum => self.app()?.execute_batch("VACUUM")?,
            Act::IncrementalVacuum(pages) => {
                let sql = format!("PRAGMA incremental_vacuum({pages})");
                self.app()?.execute_batch(&sql)?;
            }
            Act::Checkpoint(mode) => self.checkpoint(mode)?,
            Act::BeginRead => {
                let reader = database::open(&self.path);
                reader.execute_batch("BEGIN")?;
                // It holds the log from its first read on.
                reader.query_row("SELECT commits FROM progress", [], |_| Ok(()))?;
                self.reader = Some(reader);
            }
            Act::EndRead => self.reader = None,
            Act::Reopen => {
                self.reader = None;
                self.app = None;
                return self.open();
            }
        }
        self.state()
    }

    /// Begins a transaction and makes changes in it.
    fn begin(&mut self, changes: &[Change]) -> Result<(), Box<dyn Error>> {
        let app = self.app()?;
        let mut transaction = Transaction::new(app, TransactionBehavior::Immediate)?;
        changes::apply(&transaction, changes)?;
        transaction.set_drop_behavior(rusqlite::DropBehavior::Ignore);
        Ok(())
    }

    fn checkpoint(&mut self, mode: Checkpoint) -> Result<(), Box<dyn Error>> {
        let app = self.app()?;
        app.busy_timeout(CHECKPOINT_TIMEOUT)?;
        // Readers and other checkpoints may be in the way: nothing that a test is about.
        let _ = app.query_row(&format!("PRAGMA wal_checkpoint({mode:?})"), [], |_| Ok(()));
        app.busy_timeout(database::BUSY_TIMEOUT)?;
        Ok(())
    }

    fn burst(&mut self, count: u32) -> Outcome {
        for number in 0..count {
            self.begin(&[Change::Insert {
                rows: 1,
                bytes: BURST_BYTES,
                seed: number.into(),
            }])?;
            self.app()?.execute_batch("COMMIT")?;
            say(&self.state()?);
        }
        Ok(Answer::Done)
    }
}
