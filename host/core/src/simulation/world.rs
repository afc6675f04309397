//! The database, its log, and what is on the way to the replica.

use std::collections::VecDeque;

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use super::load::{Commit, Outage};
use super::report::Report;
use super::{Policy, Settings};
use crate::decision::{Facts, Outcome, judge};
use crate::guard::budget::{self, Budget, Class};
use crate::inventory::ReplicaFile;
use crate::policy::{CheckpointFacts, CheckpointProposal, SyncFacts};

/// Bytes of a page, and of a file beside its pages.
const PAGE_BYTES: u64 = 4096;
const FILE_BYTES: u64 = 200;
/// How often an upload is tried while the store does not answer.
const RETRY_MS: u64 = 30_000;
/// How often the replica is looked after.
const UPKEEP_MS: u64 = 60_000;
/// Bytes of one part of a large upload.
const PART_BYTES: u64 = 8 << 20;
/// The part of a commit that is new, one in so many bytes: the rest changes what was there.
const GROWTH_SHARE: u64 = 5;

/// A file on its way.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    txid: u64,
    bytes: u64,
    created_ms: u64,
    /// The oldest commit in it.
    since_ms: Option<u64>,
}

/// Everything, at one time.
pub(super) struct World<'a> {
    pub(super) settings: &'a Settings,
    outages: &'a [Outage],
    policy: &'a mut Policy<'a>,
    pub(super) report: Report,
    start_ms: u64,
    pub(super) now_ms: u64,
    pub(super) database_bytes: u64,
    /// Commits that are not sealed.
    pending_bytes: u64,
    pending_since: Option<u64>,
    /// When whoever seals looks again.
    sync_at: Option<u64>,
    last_sync: Option<u64>,
    log_pages: u32,
    last_checkpoint: u64,
    pub(super) spooled: u64,
    pub(super) durable: u64,
    queue: VecDeque<Sealed>,
    /// When the first of the queue is there.
    put_at: Option<u64>,
    last_put_ms: Option<u64>,
    upkeep_at: u64,
    pub(super) files: Vec<ReplicaFile>,
    pub(super) passes: u64,
    pub(super) verified: u64,
    pub(super) last_verification: u64,
    budget: Budget,
}

impl<'a> World<'a> {
    pub(super) fn new<'b: 'a>(
        settings: &'a Settings,
        outages: &'a [Outage],
        start_ms: u64,
        policy: &'a mut Policy<'b>,
    ) -> Self
    where
        'a: 'b,
    {
        Self {
            settings,
            outages,
            policy,
            report: Report::default(),
            start_ms,
            now_ms: start_ms,
            database_bytes: settings.database_bytes,
            pending_bytes: 0,
            pending_since: None,
            sync_at: None,
            last_sync: None,
            log_pages: 0,
            last_checkpoint: start_ms,
            spooled: 0,
            durable: 0,
            queue: VecDeque::new(),
            put_at: None,
            last_put_ms: None,
            upkeep_at: start_ms + UPKEEP_MS,
            files: Vec::new(),
            passes: 0,
            verified: 0,
            last_verification: start_ms,
            budget: Budget::default(),
        }
    }

    /// Everything that happens before `end_ms`.
    pub(super) fn run_until(&mut self, end_ms: u64) {
        loop {
            let times = [self.sync_at, self.put_at, Some(self.upkeep_at)];
            let Some(next) = times.into_iter().flatten().min().filter(|at| *at < end_ms) else {
                break;
            };
            self.now_ms = next;
            if self.put_at == Some(next) {
                self.confirmed();
            } else if self.sync_at == Some(next) {
                self.look();
            } else {
                self.upkeep_at = next + UPKEEP_MS;
                self.upkeep(UPKEEP_MS);
            }
        }
        self.now_ms = end_ms;
    }

    pub(super) fn commit(&mut self, commit: Commit) {
        self.report.commits += 1;
        self.database_bytes += commit.bytes / GROWTH_SHARE;
        self.pending_bytes += commit.bytes;
        self.log_pages = self.log_pages.saturating_add(pages(commit.bytes));
        if self.pending_since.is_none() {
            self.pending_since = Some(self.now_ms);
            self.look();
        }
    }

    pub(super) fn report(mut self) -> Report {
        self.report.duration_ms = self.now_ms - self.start_ms;
        self.report
    }

    /// Asks the policy, and returns what the guard lets happen.
    pub(super) fn decide(&mut self, facts: &Facts) -> Outcome {
        self.report.calls += 1;
        let proposal = (self.policy)(facts).unwrap_or_else(|| {
            self.report.failures += 1;
            facts.fallback()
        });
        let judged = judge(facts, &proposal);
        for (code, count) in judged.clamps {
            *self.report.clamps.entry(code).or_default() += count as u64;
        }
        judged.outcome
    }

    /// Seals what waits, or waits on.
    fn look(&mut self) {
        let Some(since) = self.pending_since else {
            self.sync_at = None;
            return;
        };
        let facts = SyncFacts {
            now_ms: self.now_ms,
            committed: self.spooled + 1,
            spooled: self.spooled,
            durable: self.durable,
            oldest_pending_age_ms: self.now_ms - since,
            since_last_sync_ms: self.last_sync.map(|at| self.now_ms - at),
            last_put_latency_ms: self.last_put_ms,
            consecutive_failures: self.failures(),
            sync_interval_ms: self.settings.sync_interval_ms,
            pending_bytes: self.pending_bytes,
            unsent_transactions: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            budget_left: self.left(Class::Upload),
        };
        let decided = self.decide(&Facts::Sync(facts));
        let wait_ms = match decided {
            Outcome::Sync(wait_ms) => wait_ms,
            _ => 0,
        };
        self.spend(Class::Upload, budget::of_sync(&facts, wait_ms));
        if wait_ms > 0 {
            self.sync_at = Some(self.now_ms + wait_ms);
        } else {
            self.seal(since);
        }
    }

    fn seal(&mut self, since: u64) {
        self.sync_at = None;
        self.pending_since = None;
        self.last_sync = Some(self.now_ms);
        self.report.seals += 1;
        let bytes = std::mem::take(&mut self.pending_bytes);
        // The first file of a replica has every page.
        let bytes = if self.spooled == 0 {
            self.database_bytes / 2
        } else {
            bytes
        };
        self.send(bytes, Some(since));
        self.checkpoint();
    }

    fn checkpoint(&mut self) {
        let facts = CheckpointFacts {
            now_ms: self.now_ms,
            wal_pages: self.log_pages,
            since_last_checkpoint_ms: self.now_ms - self.last_checkpoint,
            written_since_last_checkpoint: true,
            min_checkpoint_pages: self.settings.min_checkpoint_pages,
            truncate_pages: self.settings.truncate_pages,
            checkpoint_interval_ms: self.settings.checkpoint_interval_ms,
            budget_left: self.left(Class::Upload),
            ..CheckpointFacts::default()
        };
        let Outcome::Checkpoint(decided) = self.decide(&Facts::Checkpoint(facts)) else {
            return;
        };
        self.spend(Class::Upload, budget::of_checkpoint(&facts, decided));
        if decided != CheckpointProposal::None {
            self.report.checkpoints += 1;
            self.log_pages = 0;
            self.last_checkpoint = self.now_ms;
            self.send(PAGE_BYTES, None);
        }
    }

    /// What is left of the budget that the host keeps.
    pub(super) fn left(&self, class: Class) -> u32 {
        self.budget.left(class, self.now_ms)
    }

    pub(super) fn spend(&mut self, class: Class, count: u32) {
        self.budget.spend(class, count, self.now_ms);
    }

    fn send(&mut self, bytes: u64, since_ms: Option<u64>) {
        self.spooled += 1;
        self.queue.push_back(Sealed {
            txid: self.spooled,
            bytes: bytes + FILE_BYTES,
            created_ms: self.now_ms,
            since_ms,
        });
        if self.put_at.is_none() {
            self.begin_put();
        }
    }

    fn begin_put(&mut self) {
        let Some(first) = self.queue.front().copied() else {
            self.put_at = None;
            return;
        };
        let begin = match self.outage_at(self.now_ms) {
            Some(outage) => {
                self.report.requests.puts += (outage.to_ms - self.now_ms) / RETRY_MS + 1;
                outage.to_ms
            }
            None => self.now_ms,
        };
        self.put_at = Some(begin + self.transfer_ms(first.bytes));
    }

    fn confirmed(&mut self) {
        if let Some(sealed) = self.queue.pop_front() {
            self.durable = sealed.txid;
            self.last_put_ms = Some(self.transfer_ms(sealed.bytes));
            self.stored(0, sealed.txid, sealed.txid, sealed.bytes, sealed.created_ms);
            if let Some(since) = sealed.since_ms {
                let age = self.now_ms - since;
                self.report.rpo_worst_ms = self.report.rpo_worst_ms.max(age);
                let is_online = |it: &Outage| it.to_ms <= since || it.from_ms >= self.now_ms;
                if self.outages.iter().all(is_online) {
                    self.report.rpo_worst_online_ms = self.report.rpo_worst_online_ms.max(age);
                }
            }
        }
        self.begin_put();
    }

    /// Puts a file into the replica.
    pub(super) fn stored(&mut self, level: u8, min: u64, max: u64, bytes: u64, created_ms: u64) {
        self.report.requests.puts += bytes.div_ceil(PART_BYTES).max(1);
        self.report.uploaded_bytes += bytes;
        let range = || TxidRange::new(Txid::new(min)?, Txid::new(max)?);
        if let Some((level, range)) = Level::new(level).zip(range()) {
            self.files.push(ReplicaFile {
                level,
                name: FileName::new(range),
                size: bytes,
                created_ms: i64::try_from(created_ms).unwrap_or(i64::MAX),
            });
        }
    }

    /// How long so many bytes take.
    pub(super) fn transfer_ms(&self, bytes: u64) -> u64 {
        self.settings.latency_ms + bytes / self.settings.bytes_per_ms.max(1)
    }

    pub(super) fn outage_at(&self, at_ms: u64) -> Option<Outage> {
        let mut outages = self.outages.iter().copied();
        outages.find(|it| (it.from_ms..it.to_ms).contains(&at_ms))
    }

    /// Uploads that failed in a row.
    fn failures(&self) -> u32 {
        let since = self
            .outage_at(self.now_ms)
            .map(|it| self.now_ms - it.from_ms);
        let tries = since
            .filter(|_| !self.queue.is_empty())
            .map(|ms| ms / RETRY_MS);
        tries.map_or(0, |tries| u32::try_from(tries).unwrap_or(u32::MAX))
    }
}

fn pages(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX)
}
