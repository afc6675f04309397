//! What the outside can see of a database.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lockkeeper_core::guard::{alerts, holds};
use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::policy as core;
use lockkeeper_ltx::{Txid, TxidRange};

use crate::policy::{Deciding, DecisionNote, PolicyStats, Severity};
use crate::store::RequestCounts;

/// What replication of one database is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DatabaseState {
    /// Opening the database and comparing it with its replica.
    Starting,
    /// There is no such file: it was not made yet, or it was removed. What was captured of it is
    /// sent, and it is waited for.
    Absent,
    /// Commits are captured and sent.
    Replicating,
    /// Capture works, but the replica does not take what was captured; it is tried again.
    ReplicaFailing(String),
    /// Capture does not work; it is tried again.
    Failing(String),
    /// Another writer took the replica over. Nothing is captured or sent until one of the two was
    /// stopped and this one is started again, which takes the replica back.
    Fenced {
        /// The identity of the other writer, as its state directory has it.
        owner: String,
        /// What the other writer calls its database.
        database: String,
        /// How often the replica changed hands.
        epoch: u64,
    },
    /// Stopped.
    Stopped,
}

/// The state of one database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// The database file.
    pub path: PathBuf,
    /// What its replication is doing.
    pub state: DatabaseState,
    /// Where the replica is. Never holds a secret.
    pub replica: String,
    /// How many requests were sent to the store of the replica since the start; none to a folder.
    pub requests: RequestCounts,
    /// The last transaction in a sealed local file.
    pub spooled: Option<Txid>,
    /// The last transaction the replica confirmed, with all before it.
    pub durable: Option<Txid>,
    /// The last transaction of the newest snapshot.
    pub snapshot: Option<Txid>,
    /// How far back and how far on the replica restores, as it was last listed and is known to have
    /// changed since; `None` while that is not known, or if it restores nothing.
    pub restorable: Option<RestoreWindow>,
    /// When the replica last was known to have everything that was sealed, in milliseconds since
    /// the Unix epoch; `None` if not since the start.
    pub in_step_ms: Option<i64>,
    /// The longest a checkpoint kept other writers out.
    pub write_lock_held_max: Duration,
    /// The bytes of the log that hold committed transactions, and how many there ever were since
    /// replication began. While a snapshot is read from the database, the log can only grow.
    pub log_bytes: u64,
    /// See `log_bytes`.
    pub log_bytes_max: u64,
    /// Set while the log is too large and cannot be emptied: a connection of the application, or of
    /// another program, keeps a read transaction open. End that transaction. Writers are not
    /// blocked, and nothing is lost, but the disk fills.
    pub log_held: Option<LogHeld>,
    /// Why nothing is deleted from the replica at the moment, if retention is on.
    pub deletion_paused: Option<String>,
    /// The points in time that the policy keeps restorable whatever retention says, as of the last
    /// time that files could be deleted.
    pub held: Vec<HeldPoint>,
    /// The last time the replica was restored and found equal to the database.
    pub verified: Option<Verified>,
    /// What the last verification found wrong. A new snapshot is made, and until it is proven
    /// nothing is deleted.
    pub verification_failed: Option<String>,
    /// Since when the oldest commit that is not durable waits, as far as it was noticed.
    pub waiting_since: Option<SystemTime>,
    /// Whether commits were noticed that have no number yet: they get one together when they are
    /// sealed.
    pub unsealed: bool,
    /// The last transaction that was durable once, if neither the replica nor the local files had
    /// it when replication began. A file with every page took its place.
    pub head_missing: Option<Txid>,
    /// The last transaction of a past that the database no longer has: it came back older than what
    /// was captured of it, after a power cut or because an older copy was put in its place. That
    /// past can be restored as this transaction for as long as the replica keeps it.
    pub undone: Option<Txid>,
    /// Transactions that the replica has lost and that are not on the local disk any more, so that
    /// a restore cannot lead past them. A new snapshot will; it is being made.
    pub lost: Option<TxidRange>,
    /// The last decisions about the database, oldest first; what is decided again and again takes
    /// one place.
    pub decisions: Vec<DecisionNote>,
}

/// What a replica restores. Not every transaction between is a point to restore to: files that were
/// merged have one end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestoreWindow {
    /// The oldest point: the end of the oldest snapshot.
    pub oldest: RestorePoint,
    /// The newest point. It is behind `durable` while the replica has lost something.
    pub newest: RestorePoint,
}

/// A point that can be restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestorePoint {
    /// The transaction that a restore leads to.
    pub txid: Txid,
    /// When it was sealed, as the store remembers it. A restore to any time after this and before
    /// the next point leads here.
    pub at: SystemTime,
}

impl From<(ReplicaFile, ReplicaFile)> for RestoreWindow {
    fn from((oldest, newest): (ReplicaFile, ReplicaFile)) -> Self {
        let point = |file: ReplicaFile| RestorePoint {
            txid: file.range().max(),
            at: at(file.created_unix_ms()),
        };
        Self {
            oldest: point(oldest),
            newest: point(newest),
        }
    }
}

/// A proof that the replica restores to the database.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Verified {
    /// The transaction that was restored and compared.
    pub txid: Txid,
    /// When that was.
    pub at: SystemTime,
}

impl DatabaseStatus {
    /// What keeps commits of this database from being safe, or may soon.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        match &self.state {
            DatabaseState::Starting | DatabaseState::Replicating => {}
            DatabaseState::Absent => found.push("there is no such file".to_owned()),
            DatabaseState::ReplicaFailing(why) => found.push(format!("the replica fails: {why}")),
            DatabaseState::Failing(why) => found.push(why.clone()),
            DatabaseState::Fenced { owner, .. } => {
                found.push(format!("another writer has the replica: {owner}"));
            }
            DatabaseState::Stopped => found.push("it is not replicated any more".to_owned()),
        }
        if let Some(lost) = &self.lost {
            found.push(format!(
                "the replica has lost {lost}, and a snapshot is awaited"
            ));
        }
        if let Some(why) = &self.verification_failed {
            found.push(format!(
                "the replica does not restore to the database: {why}"
            ));
        }
        if let Some(why) = &self.deletion_paused {
            found.push(format!("nothing is deleted from the replica: {why}"));
        }
        if let Some(held) = &self.log_held {
            found.push(format!(
                "a reader keeps the log from being emptied ({} bytes)",
                held.bytes
            ));
        }
        found
    }

    /// The age of the oldest commit that is not durable: what would be lost with the machine now.
    /// Zero if there is none.
    #[must_use]
    pub fn lag(&self) -> Duration {
        age(self.waiting_since)
    }

    /// How many transactions are not durable: those that were sealed, and one more while there are
    /// commits that are not. A transaction here is what has a number of its own: everything that
    /// was committed between two seals.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn example(keeper: &lockkeeper::Lockkeeper) {
    /// for database in keeper.status().databases {
    ///     let (name, lag) = (database.path.display(), database.lag());
    ///     println!("{name} is {} transactions and {lag:?} behind", database.behind());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn behind(&self) -> u64 {
        let number = |txid: Option<Txid>| txid.map_or(0, Txid::get);
        let sealed = number(self.spooled).saturating_sub(number(self.durable));
        sealed.saturating_add(u64::from(self.unsealed))
    }

    /// How long ago the replica was proven; `None` if it never was.
    #[must_use]
    pub fn verified_age(&self) -> Option<Duration> {
        self.verified.map(|verified| age(Some(verified.at)))
    }
}

fn age(since: Option<SystemTime>) -> Duration {
    since
        .and_then(|since| since.elapsed().ok())
        .unwrap_or_default()
}

/// A log that cannot be emptied although it is larger than `truncate-page-n` allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogHeld {
    /// Since when that is so.
    pub since: SystemTime,
    /// How large the log was when it was last looked at, in bytes.
    pub bytes: u64,
}

/// The state of everything that is replicated.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let builder = lockkeeper::Lockkeeper::builder()
/// #     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path());
/// # let keeper = builder.clone().start().await?;
/// keeper.sync().await?;
/// let status = keeper.status();
/// assert!(status.problems().is_empty()); // else alert
/// for database in &status.databases {
///     assert!(database.problems().is_empty());
///     println!("{:?} behind", database.lag());
///     println!("proven {:?} ago", database.verified_age());
/// }
/// # keeper.stop(std::time::Duration::from_secs(15)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// One entry per database, in the order of the configuration.
    pub databases: Vec<DatabaseStatus>,
    /// One entry per directory, in the order of the configuration.
    pub directories: Vec<DirectoryStatus>,
    /// How the policy component has served.
    pub policy: PolicyStats,
    /// Who decides, and who did before.
    pub deciding: Deciding,
    /// Whether operators can ask.
    pub control: ControlState,
    /// Whether somebody is told that all is well.
    pub heartbeat: HeartbeatState,
    /// The configuration that is in force.
    pub configuration: ConfigurationStatus,
    /// The last alerts, oldest first: what the policy made of what happened. At most 50.
    pub alerts: Vec<Alert>,
}

impl Status {
    /// What keeps commits from being safe, or may soon; empty if nothing is known to. For people:
    /// each names what it is about.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(why) = &self.configuration.rejected {
            found.push(format!("the new configuration is not in force: {why}"));
        }
        for directory in &self.directories {
            let path = directory.path.display();
            found.extend(directory.error.iter().map(|why| format!("{path}: {why}")));
        }
        if self.databases.is_empty() && self.directories.is_empty() {
            found.push("nothing is replicated".to_owned());
        }
        for database in &self.databases {
            let path = database.path.display();
            let problems = database.problems().into_iter();
            found.extend(problems.map(|problem| format!("{path}: {problem}")));
        }
        found
    }
}

/// The configuration that is in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfigurationStatus {
    /// Since when.
    pub since: SystemTime,
    /// Why the last attempt to change it failed: what was in force before still is.
    pub rejected: Option<String>,
}

/// A directory that is looked through for databases.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DirectoryStatus {
    /// The directory.
    pub path: PathBuf,
    /// How many databases it had when it was last looked through.
    pub databases: usize,
    /// Why it cannot be looked through, or not wholly; it is tried again. A database that came
    /// meanwhile is not replicated.
    pub error: Option<String>,
}

/// What became of the last heartbeat.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HeartbeatState {
    /// The configuration does not ask for one.
    #[default]
    Off,
    /// The first is not due.
    Waiting,
    /// It arrived, at this time.
    Sent(SystemTime),
    /// It was not sent, because not all is well; here is why.
    Withheld(String),
    /// It did not arrive, for this reason.
    Failing(String),
}

/// Something that a person should read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// When it was raised.
    pub at: SystemTime,
    /// The name of the database file.
    pub database: String,
    /// How bad it is.
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: String,
    /// For people.
    pub message: String,
}

impl From<alerts::Raised> for Alert {
    fn from(raised: alerts::Raised) -> Self {
        Self {
            at: at(raised.at_ms),
            database: raised.database,
            severity: match raised.severity {
                core::Severity::Error => Severity::Error,
                core::Severity::Warning => Severity::Warning,
                core::Severity::Note => Severity::Note,
            },
            code: raised.code,
            message: raised.message,
        }
    }
}

/// A point in time that stays restorable whatever retention says.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HeldPoint {
    /// The time.
    pub at: SystemTime,
    /// The transaction that a restore to this time leads to; `None` if the replica has nothing as
    /// old as that.
    pub txid: Option<Txid>,
    /// Why, in the words of the policy.
    pub reason: String,
}

impl From<holds::HeldPoint> for HeldPoint {
    fn from(held: holds::HeldPoint) -> Self {
        Self {
            at: at(held.at_ms),
            txid: held.txid,
            reason: held.reason,
        }
    }
}

/// A time that a policy gave may be any.
fn at(unix_ms: u64) -> SystemTime {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether there is a control socket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ControlState {
    /// The configuration does not ask for one.
    #[default]
    Off,
    /// It is here.
    Listening(PathBuf),
    /// It could not be made, for this reason.
    Failing(String),
}
