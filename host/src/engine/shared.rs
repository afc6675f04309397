//! How the parts that work on one database tell each other how far they came.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::waiting::Gap;
use lockkeeper_ltx::{Level, Txid, TxidRange};
use tokio::sync::{Notify, watch};

use super::catalogue::Catalogue;
use super::conditions::{Conditions, Events, message_of_marks, message_of_state};
use super::meter::Meter;
use super::requests::Requests;
use super::spending::Spending;
use super::status::{DatabaseState, DatabaseStatus, HeldPoint, LogHeld, RestoreWindow, Verified};
use super::verification::Outcome;
use super::waiting::Waiting;
use crate::clock;
use crate::store::Replica;

/// How far one database came, as its parts know it.
#[derive(Debug, Default)]
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
    #[cfg(test)]
    pub(crate) proofs_are_old: bool,
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
    /// The points that the policy holds.
    pub(crate) held: Vec<HeldPoint>,
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

/// What the capture and the upload of one database share.
#[derive(Debug)]
pub(crate) struct DatabaseShared {
    path: PathBuf,
    replica: Replica,
    pub(super) meter: Meter,
    marks: Mutex<Marks>,
    wake: Arc<Notify>,
    state: watch::Sender<DatabaseState>,
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
    pub(crate) spending: Spending,
    events: Events,
}

/// The name of a database file, as it is told to a policy.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// How far the replica came, in one run of replication.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Durable {
    /// Grows with each start of the task: transactions may be numbered anew then.
    pub(crate) run: u64,
    pub(crate) txid: Option<Txid>,
}

impl DatabaseShared {
    pub(crate) fn new(path: PathBuf, replica: Replica) -> Self {
        Self {
            meter: Meter::new(&path),
            path,
            replica,
            marks: Mutex::default(),
            wake: Arc::default(),
            state: watch::Sender::new(DatabaseState::Starting),
            catalogue: Mutex::default(),
            spooled: watch::Sender::new(None),
            snapshot: watch::Sender::new(None),
            upkeep_requests: Requests::default(),
            upkeep: watch::Sender::new(None),
            verification_requests: Requests::default(),
            verification: watch::Sender::new(None),
            durable: watch::Sender::new(Durable::default()),
            fenced: watch::Sender::new(None),
            spending: Spending::default(),
            events: Events::default(),
        }
    }

    /// Tells `events` of what begins and ends.
    pub(super) fn with_events(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// The name of the database file, as it is told to a policy.
    pub(crate) fn name(&self) -> String {
        name_of(&self.path)
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
        self.meter.durable(durable);
        self.durable.send_modify(|known| known.txid = durable);
    }

    /// The replica was listed again.
    pub(crate) fn listed(&self, files: Vec<ReplicaFile>) {
        let snapshots = files.iter().filter(|file| file.level == Level::SNAPSHOT);
        let snapshot = snapshots.map(|file| file.range().max()).max();
        self.update(|marks| marks.snapshot = snapshot);
        self.lock_catalogue().listed(files);
    }

    /// A file was written to the replica and confirmed.
    pub(crate) fn added(&self, file: ReplicaFile) {
        self.meter.sent(&file);
        if file.level == Level::SNAPSHOT {
            let last = Some(file.range().max());
            self.update(|marks| {
                marks.snapshot = marks.snapshot.max(last);
                marks.snapshot_asked = false;
            });
            self.snapshot.send_replace(last);
        }
        self.lock_catalogue().added(file);
    }

    /// Files were deleted from the replica.
    pub(crate) fn removed(&self, gone: &[ReplicaFile]) {
        if !gone.is_empty() {
            self.meter.deleted(gone.len());
            self.lock_catalogue().removed(gone);
        }
    }

    /// What is known of the replica may be wrong: it is to be listed again.
    pub(crate) fn forget_catalogue(&self) {
        self.lock_catalogue().forget();
    }

    /// The files of the replica, if it was listed.
    pub(crate) fn catalogue(&self) -> Option<Vec<ReplicaFile>> {
        self.lock_catalogue().files().map(<[_]>::to_vec)
    }

    /// The snapshots of the replica, oldest first, if it was listed.
    pub(crate) fn snapshots(&self) -> Option<Vec<ReplicaFile>> {
        self.lock_catalogue().snapshots()
    }

    /// Differs after every change.
    pub(crate) fn catalogue_version(&self) -> u64 {
        self.lock_catalogue().version()
    }

    fn lock_catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What `question` asks of the marks. It must not block.
    pub(crate) fn read<T>(&self, question: impl FnOnce(&Marks) -> T) -> T {
        question(&self.lock())
    }

    /// As [`Self::update`], of what the next turn has to do: it is made at once.
    pub(super) fn demand(&self, change: impl FnOnce(&mut Marks)) {
        self.update(change);
        self.wake.notify_one();
    }

    /// What wakes a database that rests.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Waits until it is woken; at once if it was since the last time.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Marks)) {
        let mut marks = self.lock();
        let before = Conditions::of_marks(&marks);
        change(&mut marks);
        for (condition, begins) in Conditions::of_marks(&marks).since(before) {
            let message = message_of_marks(condition, &marks);
            self.events.tell(&self.path, condition, begins, message);
        }
    }

    pub(crate) fn spooled(&self, txid: Txid) {
        {
            let mut marks = self.lock();
            marks.spooled = Some(txid);
            marks.waiting.sealed(txid, SystemTime::now());
        }
        self.meter.sealed(txid);
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
        self.meter.confirmed(latency);
        self.meter.durable(Some(txid));
        self.durable.send_modify(|known| known.txid = Some(txid));
    }

    pub(crate) fn checkpointed(&self, held: Duration) {
        self.meter.write_lock_held(held);
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
        self.meter.verified(outcome.word());
        self.verification.send_replace(Some(outcome));
    }

    /// The snapshots that were sent in this run.
    pub(crate) fn subscribe_snapshot(&self) -> watch::Receiver<Option<Txid>> {
        self.snapshot.subscribe()
    }

    pub(crate) fn subscribe_durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    /// Has every proof of ownership count as old, as after a long sleep.
    #[cfg(test)]
    pub(crate) fn age_proofs(&self) {
        self.update(|marks| marks.proofs_are_old = true);
    }

    #[cfg(test)]
    pub(crate) fn is_proof_old(&self) -> bool {
        self.read(|marks| marks.proofs_are_old)
    }

    pub(crate) fn subscribe_fenced(&self) -> watch::Receiver<Option<String>> {
        self.fenced.subscribe()
    }

    /// Another writer owns the replica: nothing becomes durable any more.
    pub(crate) fn fence(&self, why: &str, state: DatabaseState) {
        self.set_state(state);
        self.fenced.send_replace(Some(why.to_owned()));
    }

    /// The database file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What replication is doing, with each change.
    pub(super) fn subscribe_state(&self) -> watch::Receiver<DatabaseState> {
        self.state.subscribe()
    }

    pub(crate) fn set_state(&self, state: DatabaseState) {
        let mut changes = Vec::new();
        self.state.send_if_modified(|now| {
            let is_new = *now != state;
            if is_new {
                tracing::info!(database = %self.path.display(), ?state, "replication");
                changes.extend(Conditions::of_state(&state).since(Conditions::of_state(now)));
                now.clone_from(&state);
            }
            is_new
        });
        for (condition, begins) in changes {
            let message = message_of_state(&state);
            self.events.tell(&self.path, condition, begins, message);
        }
    }

    /// Whether everything that was sealed is durable, and capture did not fail.
    pub(crate) fn is_settled(&self) -> bool {
        let failing = matches!(
            *self.state.borrow(),
            DatabaseState::Failing(_) | DatabaseState::Fenced { .. }
        );
        !failing && self.read(|marks| marks.durable == marks.spooled)
    }

    /// What is not durable, for people.
    pub(crate) fn backlog(&self) -> String {
        let text = |txid: Option<Txid>| txid.map_or("none".to_owned(), |txid| txid.to_string());
        let (spooled, durable) = self.read(|marks| (marks.spooled, marks.durable));
        let why = match &*self.state.borrow() {
            DatabaseState::ReplicaFailing(why) | DatabaseState::Failing(why) => format!(": {why}"),
            DatabaseState::Fenced { owner, .. } => format!(": the replica belongs to {owner} now"),
            _ => String::new(),
        };
        let next = durable.map_or(Some(Txid::FIRST), Txid::next);
        format!(
            "{} from TXID {} on (sealed to {}, durable to {}){why}",
            self.path.display(),
            text(next),
            text(spooled),
            text(durable)
        )
    }

    pub(crate) fn status(&self) -> DatabaseStatus {
        let state = self.state.borrow().clone();
        let restorable = self.lock_catalogue().window().map(RestoreWindow::from);
        let marks = self.lock();
        DatabaseStatus {
            decisions: Vec::new(),
            path: self.path.clone(),
            state,
            replica: self.replica.to_string(),
            requests: self.replica.requests(),
            spooled: marks.spooled,
            durable: marks.durable,
            snapshot: marks.snapshot,
            restorable,
            in_step_ms: marks.in_step_ms,
            write_lock_held_max: marks.write_lock_held_max,
            log_bytes: marks.log_bytes,
            log_bytes_max: marks.log_bytes_max,
            log_held: marks.log_held,
            deletion_paused: marks.deletion_paused.clone(),
            held: marks.held.clone(),
            verified: marks.verified,
            verification_failed: marks.verification_failed.clone(),
            waiting_since: marks.waiting.since(),
            unsealed: marks.waiting.is_unsealed(),
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
