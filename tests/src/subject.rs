//! An application in a process of its own: it does what it is told, answers line by line, and may
//! be killed at any time. It writes to the `app.db` of a folder, replicates it, or both.

use std::path::{Path, PathBuf};
use std::process::Command;

use lockkeeper::PageEncoding;
use serde::{Deserialize, Serialize};

use crate::changes::{Change, State};
use crate::process::Running;

/// What an answer begins with; other lines are for people.
pub const ANSWER: &str = "answer ";

/// What an application does to its database.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Act {
    /// Makes changes in one transaction.
    Commit(Vec<Change>),
    /// Makes changes and takes them back. What does not fit into the cache is in the log before.
    RollBack(Vec<Change>),
    /// Begins a transaction with changes, and leaves it open.
    Begin(Vec<Change>),
    /// Ends the transaction that is open.
    End {
        /// Whether its changes stay.
        commit: bool,
    },
    /// Rewrites the whole database.
    Vacuum,
    /// Gives free pages back, at most so many.
    IncrementalVacuum(u32),
    /// Copies the log into the database as far as others allow.
    Checkpoint(Checkpoint),
    /// Opens a second connection that reads, and holds the log until [`Act::EndRead`].
    BeginRead,
    /// Closes the connection that reads.
    EndRead,
    /// Closes the database and opens it again.
    Reopen,
}

/// `PRAGMA wal_checkpoint`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the names are those of SQLite")]
pub enum Checkpoint {
    Passive,
    Full,
    Restart,
    Truncate,
}

/// One order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Order {
    /// Makes the database.
    Create {
        /// `PRAGMA page_size`.
        page_size: u32,
        /// `PRAGMA auto_vacuum`.
        auto_vacuum: u32,
    },
    /// Opens the database.
    Open {
        /// `PRAGMA wal_autocheckpoint`, which is on in every application unless it is turned off.
        auto_checkpoint: u32,
    },
    /// Does something to the database.
    Do(Act),
    /// Commits this many times, and answers each time.
    Burst(u32),
    /// Writes the database to a file, byte for byte.
    Copy(PathBuf),
    /// Starts replication.
    Replicate {
        /// A `litestream.yml`.
        config: String,
        /// Whether pages are compressed as old releases of Litestream expect it.
        frames: bool,
    },
    /// Makes durable what is committed.
    Sync,
    /// Ends replication in peace.
    Stop,
}

/// An answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The database holds this now.
    State(State),
    /// This transaction is durable, with all before it.
    Durable(u64),
    /// It failed, for this reason.
    Failed(String),
}

/// The process.
#[derive(Debug)]
pub struct Subject(Running);

impl Subject {
    /// Starts `program`, the `lockkeeper-test-app`, for the database of a folder.
    #[must_use]
    pub fn start(program: &str, folder: &Path) -> Self {
        Self(Running::start(
            Command::new(program).arg("serve").arg(folder),
        ))
    }

    /// Gives an order, and waits for the answer.
    pub fn ask(&mut self, order: &Order) -> Answer {
        self.tell(order);
        self.answer()
    }

    /// Gives an order.
    pub fn tell(&mut self, order: &Order) {
        let line = serde_json::to_string(order).expect("an order can be written");
        self.0.send_line(&line);
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        let line = self
            .0
            .wait_for("an answer", |line| line.starts_with(ANSWER));
        serde_json::from_str(&line[ANSWER.len()..]).expect("an answer can be read")
    }

    /// Ends it at once; returns every answer that it gave.
    #[must_use]
    pub fn kill(self) -> Vec<Answer> {
        let printed = self.0.kill().printed;
        let answers = printed.iter().filter_map(|line| line.strip_prefix(ANSWER));
        answers
            .map(|answer| serde_json::from_str(answer).expect("an answer can be read"))
            .collect()
    }

    /// Ends it in peace.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn quit(self) {
        let ended = self.0.finish();
        assert!(ended.status.success(), "{ended:#?}");
    }
}

impl Order {
    /// The encoding that is meant by the flag of [`Order::Replicate`].
    #[must_use]
    pub fn encoding(frames: bool) -> PageEncoding {
        if frames {
            PageEncoding::Frame
        } else {
            PageEncoding::Block
        }
    }
}
