//! Looks at decisions after they were made: records them, and asks a candidate the same.
//!
//! One thread does it. A decision is handed over without waiting, and is dropped and counted where
//! the thread does not keep up: replication never waits for what is written about it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lockkeeper_core::decision::{Clamp, Facts, Proposal};

use super::rate::RateLimit;
use super::served::Answered;
use super::shadow::Shadow;
use super::trace::{Answer, Encoder, Record, Ring, TraceSettings};
use crate::{Error, Result};

/// Decisions that wait for the thread.
const QUEUE_MAX: usize = 1024;
/// Files in the facts of those that wait; each takes about a hundred bytes.
const QUEUED_FILES_MAX: usize = 200_000;
/// How long the thread may take to write what is left when everything ends.
const END_MAX: Duration = Duration::from_secs(2);
/// How long a decision waits to be written: what a killed process loses.
const FLUSH: Duration = Duration::from_secs(2);
/// Decisions that a candidate is asked at once, and the files in their facts.
const REMEMBERED_MAX: usize = 64;
const REMEMBERED_FILES_MAX: usize = 20_000;
/// Lines about a trace that cannot be written, in a [`WINDOW`].
const LINES_MAX: u32 = 1;
const WINDOW: Duration = Duration::from_secs(600);

/// A decision that was made.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) at_ms: u64,
    pub(super) database: Arc<str>,
    pub(super) digest: Arc<str>,
    pub(super) facts: Facts,
    pub(super) answer: Answered<Proposal>,
    pub(super) clamps: Vec<Clamp>,
    pub(super) outcome: String,
}

enum Message {
    Decided(Box<Decided>),
    Begin(Shadow),
    End,
}

/// What was recorded of the decisions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TraceStats {
    /// Decisions that are in the trace.
    pub recorded: u64,
    /// Decisions that are not, because they came too fast or the disk took none.
    pub dropped: u64,
}

/// Where decisions are handed over. The thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Observer {
    // Dropped in this order: the thread ends when nobody can send any more.
    sender: SyncSender<Message>,
    _end: End,
    counts: Arc<Counts>,
}

/// Waits, when it is dropped, until the thread has ended.
#[derive(Debug)]
struct End(Mutex<Receiver<()>>);

impl Drop for End {
    fn drop(&mut self) {
        let ended = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is sent: the other side goes with the thread.
        if ended.recv_timeout(END_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last decisions may be missing in the trace");
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    queued_files: AtomicUsize,
    recorded: AtomicU64,
    dropped: AtomicU64,
}

impl Observer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that fails, or the folder of the trace cannot be made.
    pub(super) fn start(trace: Option<&TraceSettings>) -> Result<Self> {
        let open = |settings: &TraceSettings| {
            Ring::open(settings).map_err(|error| {
                let folder = settings.folder.display();
                Error::unavailable(format!("cannot keep a trace of decisions in {folder}"))
                    .with_source(error)
            })
        };
        let ring = trace.map(open).transpose()?;
        let (observer, receiver, running) = Self::idle();
        let work = Work {
            counts: Arc::clone(&observer.counts),
            ring,
            encoder: Encoder::default(),
            flush_at: None,
            remembered: VecDeque::new(),
            shadow: None,
            lines: RateLimit::new(LINES_MAX, WINDOW),
        };
        let log = tracing::dispatcher::get_default(Clone::clone);
        thread::Builder::new()
            .name("lockkeeper-trace".into())
            .spawn(move || {
                tracing::dispatcher::with_default(&log, || run(work, &receiver));
                drop(running);
            })
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
        Ok(observer)
    }

    /// Without a thread: what is handed over stays in the receiver. The last part goes when the
    /// thread has ended.
    fn idle() -> (Self, Receiver<Message>, SyncSender<()>) {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let (running, ended) = sync_channel(0);
        let observer = Self {
            sender,
            _end: End(Mutex::new(ended)),
            counts: Arc::default(),
        };
        (observer, receiver, running)
    }

    /// Hands a decision over, if there is room.
    pub(super) fn decided(&self, decided: Decided) {
        let files = decided.facts.files();
        let queued = &self.counts.queued_files;
        let before = queued.fetch_add(files, Ordering::Relaxed);
        let is_sent = before < QUEUED_FILES_MAX
            && self
                .sender
                .try_send(Message::Decided(Box::new(decided)))
                .is_ok();
        if !is_sent {
            queued.fetch_sub(files, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets a candidate answer what is decided from now on, and what was decided last.
    pub(super) fn begin(&self, shadow: Shadow) -> Result<()> {
        match self.sender.try_send(Message::Begin(shadow)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Error::unavailable(
                "decisions come too fast to compare a candidate with them; try again",
            )),
        }
    }

    /// Ends the trial of a candidate; it tells how far it came.
    pub(super) fn end(&self) {
        // A full queue ends it later, and whoever waits has a deadline of its own.
        let _ = self.sender.try_send(Message::End);
    }

    pub(super) fn stats(&self) -> TraceStats {
        TraceStats {
            recorded: self.counts.recorded.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }
}

struct Work {
    counts: Arc<Counts>,
    ring: Option<Ring>,
    encoder: Encoder,
    /// Set while the encoder has something.
    flush_at: Option<Instant>,
    remembered: VecDeque<Arc<Decided>>,
    shadow: Option<Shadow>,
    lines: RateLimit,
}

fn run(mut work: Work, receiver: &Receiver<Message>) {
    // What a candidate prints goes through calls that want a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _entered = runtime.as_ref().ok().map(tokio::runtime::Runtime::enter);
    loop {
        let wait = work
            .flush_at
            .map_or(FLUSH, |at| at.saturating_duration_since(Instant::now()));
        match receiver.recv_timeout(wait) {
            Ok(Message::Decided(decided)) => work.decided(*decided),
            Ok(Message::Begin(shadow)) => work.begin(shadow),
            Ok(Message::End) => work.shadow = None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return work.flush(),
        }
        if work.flush_at.is_some_and(|at| Instant::now() >= at) {
            work.flush();
        }
    }
}

impl Work {
    fn decided(&mut self, decided: Decided) {
        let files = decided.facts.files();
        self.counts.queued_files.fetch_sub(files, Ordering::Relaxed);
        let decided = Arc::new(decided);
        self.look(&decided);
        self.record(&decided);
        self.remember(decided);
    }

    fn begin(&mut self, shadow: Shadow) {
        self.shadow = Some(shadow);
        let remembered: Vec<_> = self.remembered.iter().cloned().collect();
        for decided in &remembered {
            self.look(decided);
        }
    }

    /// Lets the candidate answer; forgets it when it has answered enough, or fails.
    fn look(&mut self, decided: &Decided) {
        if let Some(shadow) = &mut self.shadow
            && shadow.look(decided).is_break()
        {
            self.shadow = None;
        }
    }

    fn record(&mut self, decided: &Decided) {
        if self.ring.is_none() {
            return;
        }
        let record = Record {
            at: decided.at_ms,
            database: decided.database.to_string(),
            policy: decided.digest.to_string(),
            facts: decided.facts.clone(),
            answer: match &decided.answer {
                Answered::Proposed(proposal) => Answer::of(proposal),
                Answered::Failed(why) => Answer::Failed(why.clone()),
                Answered::NotAsked => Answer::NotAsked,
            },
            clamps: decided
                .clamps
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect(),
            outcome: decided.outcome.clone(),
        };
        if !self.encoder.add(record) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH);
        if self.encoder.is_full() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        let Some((ring, (block, records))) = self.ring.as_mut().zip(self.encoder.block()) else {
            return;
        };
        match ring.append(&block) {
            Ok(()) => self.counts.recorded.fetch_add(records, Ordering::Relaxed),
            Err(error) => {
                if let Some(suppressed) = self.lines.admit(Instant::now()) {
                    tracing::warn!(%error, suppressed, "decisions cannot be recorded");
                }
                self.counts.dropped.fetch_add(records, Ordering::Relaxed)
            }
        };
    }

    fn remember(&mut self, decided: Arc<Decided>) {
        self.remembered.push_back(decided);
        let files = |all: &VecDeque<Arc<Decided>>| -> usize {
            all.iter().map(|decided| decided.facts.files()).sum()
        };
        while self.remembered.len() > REMEMBERED_MAX
            || files(&self.remembered) > REMEMBERED_FILES_MAX
        {
            self.remembered.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::inventory::ReplicaFile;
    use lockkeeper_core::policy::{SnapshotFacts, SyncFacts};
    use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

    use super::*;

    fn decided(facts: Facts) -> Decided {
        Decided {
            at_ms: 1,
            database: "app.db".into(),
            digest: "".into(),
            facts,
            answer: Answered::NotAsked,
            clamps: Vec::new(),
            outcome: String::new(),
        }
    }

    #[test]
    fn what_comes_too_fast_is_dropped_and_counted_and_never_waited_for() {
        let (observer, receiver, _) = Observer::idle();
        for _ in 0..QUEUE_MAX + 5 {
            observer.decided(decided(Facts::Sync(SyncFacts::default())));
        }
        assert_eq!(observer.stats().dropped, 5);
        assert_eq!(receiver.try_iter().count(), QUEUE_MAX);
    }

    #[test]
    fn facts_that_wait_take_bounded_memory() {
        let (observer, receiver, _) = Observer::idle();
        let first = TxidRange::new(Txid::FIRST, Txid::FIRST).unwrap();
        let file = ReplicaFile {
            level: Level::SNAPSHOT,
            name: FileName::new(first),
            size: 1,
            created_ms: 1,
        };
        for _ in 0..10 {
            observer.decided(decided(Facts::Snapshot(SnapshotFacts {
                snapshots: vec![file; QUEUED_FILES_MAX / 2],
                ..SnapshotFacts::default()
            })));
        }
        assert_eq!(receiver.try_iter().count(), 2);
        assert_eq!(observer.stats().dropped, 8);
    }

    #[test]
    fn what_was_decided_last_is_in_the_trace_when_everything_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let settings = TraceSettings::new(dir.path().join("trace"));
        let observer = Observer::start(Some(&settings)).unwrap();
        let counts = Arc::clone(&observer.counts);
        observer.decided(decided(Facts::Sync(SyncFacts::default())));
        drop(observer);
        assert_eq!(counts.recorded.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_the_record_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let settings = TraceSettings::new(dir.path().join("trace"));
        let observer = Observer::start(Some(&settings)).unwrap();
        std::fs::remove_dir(&settings.folder).unwrap();
        std::fs::write(&settings.folder, "in the way").unwrap();
        observer.decided(decided(Facts::Sync(SyncFacts::default())));
        let begin = Instant::now();
        while observer.stats().dropped == 0 {
            assert!(begin.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
        assert_eq!(observer.stats().recorded, 0);
    }
}
