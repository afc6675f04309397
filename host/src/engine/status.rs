//! What the outside can see of a database, and how its parts tell each other how far they came.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::waiting::Gap;
use lockkeeper_ltx::{Level, Txid, TxidRange};
use tokio::sync::watch;

use super::requests::Requests;
use super::verification::Outcome;
use super::waiting::Waiting;
use crate::clock;
use crate::policy::PolicyStats;

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
    /// The last transaction in a sealed local file.
    pub spooled: Option<Txid>,
    /// The last transaction the replica confirmed, with all before it.
    pub durable: Option<Txid>,
    /// The last transaction of the newest snapshot.
    pub snapshot: Option<Txid>,
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
    /// The last time the replica was restored and found equal to the database.
    pub verified: Option<Verified>,
    /// What the last verification found wrong. A new snapshot is made, and until it is proven
    /// nothing is deleted.
    pub verification_failed: Option<String>,
    /// Since when the oldest commit that is not durable waits, as far as it was noticed.
    pub waiting_since: Option<SystemTime>,
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
    /// The age of the oldest commit that is not durable: what would be lost with the machine now.
    /// Zero if there is none.
    #[must_use]
    pub fn lag(&self) -> Duration {
        age(self.waiting_since)
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
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// One entry per database, in the order of the configuration.
    pub databases: Vec<DatabaseStatus>,
    /// How the policy component has served.
    pub policy: PolicyStats,
    /// Whether operators can ask.
    pub control: ControlState,
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

/// How far one database came, as its parts know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) spooled: Option<Txid>,
    pub(crate) durable: Option<Txid>,
    /// The newest snapshot of the replica, as far as it was listed.
    pub(crate) snapshot: Option<Txid>,
    pub(crate) snapshot_running: bool,
    /// A snapshot was given up because the log grew: the next is made from files of the replica.
    pub(crate) snapshot_given_up: bool,
    /// Why a snapshot is to be made from files of the replica now.
    pub(crate) snapshot_from_files: Option<String>,
    /// A verification waits for the pages of the database.
    pub(crate) verification_asked: bool,
    pub(crate) verified: Option<Verified>,
    /// What the last verification found wrong.
    pub(crate) verification_failed: Option<String>,
    /// Somebody asked for a snapshot.
    pub(crate) snapshot_asked: bool,
    /// The last transaction that was sealed when a verification failed: a snapshot must be newer.
    pub(crate) distrusted: Option<Txid>,
    pub(super) waiting: Waiting,
    pub(crate) log_bytes: u64,
    pub(crate) log_bytes_max: u64,
    pub(crate) log_held: Option<LogHeld>,
    pub(crate) deletion_paused: Option<String>,
    pub(crate) consecutive_failures: u32,
    pub(crate) last_put_latency: Option<Duration>,
    /// The oldest local file that capture still needs.
    pub(crate) needs_from: Option<Txid>,
    in_step_ms: Option<i64>,
    pub(crate) undone: Option<Txid>,
    /// The hole at which merges stop.
    pub(crate) gap: Option<Gap>,
    /// What a snapshot must lead past.
    pub(crate) lost: Option<TxidRange>,
    /// The transaction from which on the database has another page size, while no snapshot was sent
    /// that begins with it.
    pub(crate) page_size_changed: Option<Txid>,
    write_lock_held_max: Duration,
    pub(crate) head_missing: Option<Txid>,
}

impl Marks {
    /// Notes the time if everything that was sealed is durable.
    fn compare(&mut self) {
        if self.durable.is_some() && self.durable == self.spooled && self.lost.is_none() {
            self.in_step_ms = Some(clock::now_ms());
        }
    }
}

/// The files of the replica. Whoever writes or deletes one records it here, so that the replica is
/// listed once and an idle database makes no request.
#[derive(Debug, Default)]
struct Catalogue {
    /// `None` until the replica was listed.
    files: Option<Vec<ReplicaFile>>,
    /// Files that were written while the replica was being listed: the listing may lack them.
    recent: Vec<ReplicaFile>,
    /// Grows with each change.
    version: u64,
}

/// What the capture and the upload of one database share.
#[derive(Debug)]
pub(crate) struct DatabaseShared {
    path: PathBuf,
    replica: String,
    marks: Mutex<Marks>,
    state: Mutex<DatabaseState>,
    catalogue: Mutex<Catalogue>,
    spooled: watch::Sender<Option<Txid>>,
    snapshot: watch::Sender<Option<Txid>>,
    pub(super) upkeep_requests: Requests,
    /// How many files were deleted when it was asked for; `None` if it failed.
    upkeep: watch::Sender<Option<usize>>,
    pub(super) verification_requests: Requests,
    verification: watch::Sender<Option<Outcome>>,
    durable: watch::Sender<Durable>,
    /// Why nothing becomes durable any more.
    fenced: watch::Sender<Option<String>>,
}

/// How far the replica came, in one run of replication.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Durable {
    /// Grows with each start of the task: transactions may be numbered anew then.
    pub(crate) run: u64,
    pub(crate) txid: Option<Txid>,
}

impl DatabaseShared {
    pub(crate) fn new(path: PathBuf, replica: String) -> Self {
        Self {
            path,
            replica,
            marks: Mutex::default(),
            state: Mutex::new(DatabaseState::Starting),
            catalogue: Mutex::default(),
            spooled: watch::Sender::new(None),
            snapshot: watch::Sender::new(None),
            upkeep_requests: Requests::default(),
            upkeep: watch::Sender::new(None),
            verification_requests: Requests::default(),
            verification: watch::Sender::new(None),
            durable: watch::Sender::new(Durable::default()),
            fenced: watch::Sender::new(None),
        }
    }

    /// The start of a run. What the replica holds is not known: nothing is merged, deleted or
    /// snapshotted before it was listed.
    pub(crate) fn restart(&self, spooled: Option<Txid>) {
        self.forget_catalogue();
        {
            let mut marks = self.lock();
            marks.spooled = spooled;
            marks.durable = marks.durable.min(spooled);
            marks.snapshot_running = false;
            marks.snapshot_from_files = None;
            marks.consecutive_failures = 0;
        }
        self.spooled.send_replace(spooled);
        let txid = self.lock().durable;
        self.durable.send_modify(|durable| {
            durable.run = durable.run.wrapping_add(1);
            durable.txid = txid;
        });
    }

    /// The replica was listed at the start of a run: these files are in it, and uploads go on after
    /// `durable`.
    pub(crate) fn reached(&self, files: Vec<ReplicaFile>, durable: Option<Txid>) {
        self.listed(files);
        {
            let mut marks = self.lock();
            marks.durable = durable;
            marks.consecutive_failures = 0;
            marks.compare();
        }
        self.durable.send_modify(|known| known.txid = durable);
    }

    /// The replica was listed again.
    pub(crate) fn listed(&self, files: Vec<ReplicaFile>) {
        let snapshots = files.iter().filter(|file| file.level == Level::SNAPSHOT);
        let snapshot = snapshots.map(|file| file.range().max()).max();
        self.update(|marks| marks.snapshot = snapshot);
        self.change_catalogue(|catalogue| {
            let mut files = files;
            files.append(&mut catalogue.recent);
            catalogue.files = Some(files);
        });
    }

    /// A file was written to the replica and confirmed.
    pub(crate) fn added(&self, file: ReplicaFile) {
        if file.level == Level::SNAPSHOT {
            let last = Some(file.range().max());
            self.update(|marks| {
                marks.snapshot = marks.snapshot.max(last);
                marks.snapshot_asked = false;
            });
            self.snapshot.send_replace(last);
        }
        self.change_catalogue(|catalogue| match &mut catalogue.files {
            Some(known) => known.push(file),
            None => catalogue.recent.push(file),
        });
    }

    /// Files were deleted from the replica.
    pub(crate) fn removed(&self, gone: &[ReplicaFile]) {
        if gone.is_empty() {
            return;
        }
        let gone: BTreeSet<_> = gone.iter().map(|file| (file.level, file.name)).collect();
        self.change_catalogue(|catalogue| {
            if let Some(known) = &mut catalogue.files {
                known.retain(|file| !gone.contains(&(file.level, file.name)));
            }
        });
    }

    /// What is known of the replica may be wrong: it is to be listed again.
    pub(crate) fn forget_catalogue(&self) {
        self.change_catalogue(|catalogue| {
            catalogue.files = None;
            catalogue.recent.clear();
        });
    }

    /// The files of the replica, if it was listed.
    pub(crate) fn catalogue(&self) -> Option<Vec<ReplicaFile>> {
        self.lock_catalogue().files.clone()
    }

    /// The snapshots of the replica, oldest first, if it was listed.
    pub(crate) fn snapshots(&self) -> Option<Vec<ReplicaFile>> {
        let catalogue = self.lock_catalogue();
        let files = catalogue.files.as_ref()?.iter();
        let mut snapshots: Vec<ReplicaFile> = files
            .filter(|file| file.level == Level::SNAPSHOT)
            .copied()
            .collect();
        snapshots.sort_by_key(|file| file.name);
        Some(snapshots)
    }

    /// Differs after every change.
    pub(crate) fn catalogue_version(&self) -> u64 {
        self.lock_catalogue().version
    }

    fn change_catalogue(&self, change: impl FnOnce(&mut Catalogue)) {
        let mut catalogue = self.lock_catalogue();
        change(&mut catalogue);
        catalogue.version = catalogue.version.wrapping_add(1);
    }

    fn lock_catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn marks(&self) -> Marks {
        self.lock().clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.lock());
    }

    pub(crate) fn spooled(&self, txid: Txid) {
        {
            let mut marks = self.lock();
            marks.spooled = Some(txid);
            marks.waiting.sealed(txid, SystemTime::now());
        }
        self.spooled.send_replace(Some(txid));
    }

    pub(crate) fn confirmed(&self, txid: Txid, latency: Duration) {
        {
            let mut marks = self.lock();
            marks.durable = Some(txid);
            marks.waiting.confirmed(Some(txid));
            marks.last_put_latency = Some(latency);
            marks.consecutive_failures = 0;
            marks.compare();
        }
        self.durable.send_modify(|known| known.txid = Some(txid));
    }

    pub(crate) fn checkpointed(&self, held: Duration) {
        let mut marks = self.lock();
        marks.write_lock_held_max = marks.write_lock_held_max.max(held);
    }

    pub(crate) fn subscribe_spooled(&self) -> watch::Receiver<Option<Txid>> {
        self.spooled.subscribe()
    }

    /// Asks for upkeep now; the receiver changes when it was done.
    pub(super) fn ask_for_upkeep(&self) -> watch::Receiver<Option<usize>> {
        let ended = self.upkeep.subscribe();
        self.upkeep_requests.ask();
        ended
    }

    pub(super) fn upkeep_ended(&self, deleted: Option<usize>) {
        self.upkeep.send_replace(deleted);
    }

    /// Asks for a verification now; the receiver changes with each that ends.
    pub(crate) fn ask_for_verification(&self) -> watch::Receiver<Option<Outcome>> {
        let outcomes = self.verification.subscribe();
        self.verification_requests.ask();
        outcomes
    }

    pub(super) fn verification_ended(&self, outcome: Outcome) {
        self.verification.send_replace(Some(outcome));
    }

    /// The snapshots that were sent in this run.
    pub(crate) fn subscribe_snapshot(&self) -> watch::Receiver<Option<Txid>> {
        self.snapshot.subscribe()
    }

    pub(crate) fn subscribe_durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    pub(crate) fn subscribe_fenced(&self) -> watch::Receiver<Option<String>> {
        self.fenced.subscribe()
    }

    /// Another writer owns the replica: nothing becomes durable any more.
    pub(crate) fn fence(&self, why: &str, state: DatabaseState) {
        self.set_state(state);
        self.fenced.send_replace(Some(why.to_owned()));
    }

    pub(crate) fn set_state(&self, state: DatabaseState) {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != state {
            tracing::info!(database = %self.path.display(), ?state, "replication");
            *now = state;
        }
    }

    /// Whether everything that was sealed is durable, and capture did not fail.
    pub(crate) fn is_settled(&self) -> bool {
        let failing = matches!(
            *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            DatabaseState::Failing(_) | DatabaseState::Fenced { .. }
        );
        let marks = self.marks();
        !failing && marks.durable == marks.spooled
    }

    /// What is not durable, for people.
    pub(crate) fn backlog(&self) -> String {
        let text = |txid: Option<Txid>| txid.map_or("none".to_owned(), |txid| txid.to_string());
        let marks = self.marks();
        let why = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            DatabaseState::ReplicaFailing(why) | DatabaseState::Failing(why) => format!(": {why}"),
            DatabaseState::Fenced { owner, .. } => format!(": the replica belongs to {owner} now"),
            _ => String::new(),
        };
        format!(
            "{} (sealed to {}, durable to {}){why}",
            self.path.display(),
            text(marks.spooled),
            text(marks.durable)
        )
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let marks = self.marks();
        DatabaseStatus {
            path: self.path.clone(),
            state: self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            replica: self.replica.clone(),
            spooled: marks.spooled,
            durable: marks.durable,
            snapshot: marks.snapshot,
            in_step_ms: marks.in_step_ms,
            write_lock_held_max: marks.write_lock_held_max,
            log_bytes: marks.log_bytes,
            log_bytes_max: marks.log_bytes_max,
            log_held: marks.log_held,
            deletion_paused: marks.deletion_paused.clone(),
            verified: marks.verified,
            verification_failed: marks.verification_failed.clone(),
            waiting_since: marks.waiting.since(),
            head_missing: marks.head_missing,
            undone: marks.undone,
            lost: marks.lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        // A panic while marks were held leaves plain values behind, each valid by itself.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
