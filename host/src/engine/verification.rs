//! Proving a replica: it is restored, and held against the database page by page.
//!
//! The pages of the database are hashed as of one sealed transaction, while a read mark keeps them
//! still; then the mark goes, and the replica is restored to that very transaction. So commits that
//! come meanwhile make no difference, and hold nothing up.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockkeeper_core::guard::budget::{self, Class};
use lockkeeper_core::policy::VerificationFacts;
use lockkeeper_ltx::{PageSize, Pgno, Txid};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use twox_hash::XxHash3_128;

use super::database::blocking;
use super::shared::{DatabaseShared, Marks};
use super::status::Verified;
use crate::capture::Snapshot;
use crate::policy::Policy;
use crate::restore::{self, RestoreOptions, Target};
use crate::store::Replica;
use crate::{Error, ErrorKind, Result, clock};

/// How long the pages of the database may be waited for, and then the replica.
const PAGES_TIMEOUT: Duration = Duration::from_secs(120);
const DURABLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a newer transaction is taken because files of the first were merged meanwhile.
const TRIES: u32 = 3;
/// The shortest time between verifications that nobody asked for.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How often the policy is asked within a configured interval once that has passed.
const QUESTIONS_PER_INTERVAL: u32 = 10;
/// How long the policy is not asked, at most.
const QUESTION_PAUSE_MAX: Duration = Duration::from_secs(600);
/// The file that remembers, over a restart, that the replica cannot be trusted.
const FAILED: &str = "verification-failed";
const RESTORED: &str = "verification.db";

/// How a verification ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The replica restores to the database.
    Proven(Verified),
    /// It does not.
    Failed(String),
    /// It could not be found out.
    Unknown(String),
}

/// The verification of one replica.
pub(super) struct Verification<'a> {
    pub(super) replica: &'a Replica,
    pub(super) shared: &'a DatabaseShared,
    /// The state directory.
    pub(super) meta: PathBuf,
    pub(super) policy: &'a Policy,
    /// How often, as configured.
    pub(super) interval: Option<Duration>,
    pub(super) long_work: Arc<Semaphore>,
    /// The database at one transaction, when a verification asked for it.
    pub(super) pages: mpsc::Receiver<Snapshot>,
}

impl Verification<'_> {
    /// Verifies when it is time for it, for as long as it is polled.
    pub(super) async fn run(mut self) -> Result<()> {
        self.recall().await?;
        let mut last = Instant::now();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(self.pause(last)) => {
                    let Some(reason) = self.reason(last).await? else {
                        continue;
                    };
                    tracing::debug!(replica = %self.replica, %reason, "verification");
                    None
                }
                asked = self.shared.verification_requests.asked() => Some(asked),
            };
            let outcome = self.verify().await;
            self.conclude(&outcome).await?;
            if let Some(asked) = asked {
                self.shared.verification_requests.done(asked);
            }
            self.shared.verification_ended(outcome);
            last = Instant::now();
        }
    }

    /// How long to wait before it is looked into whether to verify.
    fn pause(&self, last: Instant) -> Duration {
        if self
            .shared
            .read(|marks| marks.verification_failed.is_some())
        {
            // It is tried again as soon as there is a new snapshot.
            return PAUSE_MIN;
        }
        let interval = self.interval.unwrap_or(QUESTION_PAUSE_MAX);
        let until_due = interval.saturating_sub(last.elapsed());
        let pause = until_due.max(interval / QUESTIONS_PER_INTERVAL);
        pause.clamp(PAUSE_MIN, QUESTION_PAUSE_MAX)
    }

    /// Why to verify now; `None` for not now.
    async fn reason(&self, last: Instant) -> Result<Option<String>> {
        let (failed, has_snapshot, facts) = self.shared.read(|marks| {
            let failed = marks.verification_failed.is_some();
            (
                failed,
                marks.snapshot > marks.distrusted,
                self.facts(marks, last),
            )
        });
        if failed {
            return Ok(has_snapshot.then(|| "the last verification failed".to_owned()));
        }
        // Nothing new: nothing to ask.
        if facts.durable <= facts.verified {
            return Ok(None);
        }
        let policy = self.policy.clone();
        let reason = blocking(move || Ok(policy.plan_verification(&facts))).await?;
        if reason.is_some() {
            let cost = budget::of_verification(&facts);
            self.shared.spending.spend(Class::Verification, cost);
        }
        Ok(reason)
    }

    fn facts(&self, marks: &Marks, last: Instant) -> VerificationFacts {
        let number = |txid: Option<Txid>| txid.map_or(0, Txid::get);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        VerificationFacts {
            now_ms: u64::try_from(clock::now_ms()).unwrap_or(0),
            spooled: number(marks.spooled),
            durable: number(marks.durable),
            verified: number(marks.verified.map(|verified| verified.txid)),
            since_last_verification_ms: millis(last.elapsed()),
            validation_interval_ms: self.interval.map_or(0, millis),
            budget_left: self.shared.spending.left(Class::Verification),
        }
    }

    async fn verify(&mut self) -> Outcome {
        let permit = Arc::clone(&self.long_work).acquire_owned().await;
        let mut result = Err(Error::internal("the engine ended"));
        if permit.is_ok() {
            for _ in 0..TRIES {
                result = self.try_once().await;
                if !matches!(result, Ok(None)) {
                    break;
                }
            }
        }
        match result {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Outcome::Unknown("files are merged faster than they are read".into()),
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }

    /// `None` if the transaction cannot be restored any more because its file was merged.
    async fn try_once(&mut self) -> Result<Option<Outcome>> {
        let snapshot = self.database().await?;
        let txid = snapshot.txid;
        let meta = self.meta.clone();
        let hashes = blocking(move || Hashes::of(&snapshot, &meta)).await?;
        let mut durable = self.shared.subscribe_durable();
        let reached = durable.wait_for(|durable| durable.txid >= Some(txid));
        match timeout(DURABLE_TIMEOUT, reached).await {
            Ok(Ok(_)) => {}
            _ => return Err(Error::unavailable(format!("{txid} is not durable"))),
        }
        let output = self.meta.join(RESTORED);
        let left = output.clone();
        blocking(move || remove(&left)).await?;
        let options = RestoreOptions {
            target: Target::Txid(txid),
            ..RestoreOptions::new(&output)
        };
        let restored = restore::restore(self.replica, options).await;
        let found = match restored {
            Ok(_) => {
                blocking(move || {
                    let found = hashes.compare(&output);
                    remove(&output)?;
                    found
                })
                .await?
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                let latest = restore::plan_only(self.replica, Target::Latest).await;
                if latest.is_ok_and(|plan| plan.txid() > txid) {
                    return Ok(None);
                }
                Some(error.to_string())
            }
        };
        Ok(Some(match found {
            None => Outcome::Proven(Verified {
                txid,
                at: SystemTime::now(),
            }),
            Some(why) => Outcome::Failed(why),
        }))
    }

    /// The database at its last sealed transaction.
    async fn database(&mut self) -> Result<Snapshot> {
        self.shared.demand(|marks| marks.verification_asked = true);
        let pages = timeout(PAGES_TIMEOUT, self.pages.recv()).await;
        self.shared.update(|marks| marks.verification_asked = false);
        match pages {
            Ok(Some(pages)) => Ok(pages),
            _ => Err(Error::unavailable(
                "the pages of the database were not to be had: it is written to all the time",
            )),
        }
    }

    /// What an earlier run found wrong is still wrong.
    async fn recall(&self) -> Result<()> {
        let (file, left) = (self.meta.join(FAILED), self.meta.join(RESTORED));
        let known = blocking(move || {
            remove(&left)?;
            match std::fs::read_to_string(&file) {
                Ok(why) => Ok(Some(why)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("read", &file, error)),
            }
        })
        .await?;
        if let Some(why) = known {
            self.distrust(why);
        }
        Ok(())
    }

    async fn conclude(&self, outcome: &Outcome) -> Result<()> {
        let file = self.meta.join(FAILED);
        match outcome.clone() {
            Outcome::Proven(verified) => {
                tracing::info!(replica = %self.replica, txid = %verified.txid, "verified");
                self.shared.update(|marks| {
                    marks.verified = Some(verified);
                    marks.verification_failed = None;
                    marks.distrusted = None;
                });
                blocking(move || remove(&file)).await
            }
            Outcome::Failed(why) => {
                tracing::error!(
                    replica = %self.replica, %why,
                    "the replica does not restore to the database; a new snapshot is made, and \
                     nothing is deleted until that is proven"
                );
                self.distrust(why.clone());
                blocking(move || {
                    std::fs::write(&file, why).map_err(|error| failed("write", &file, error))
                })
                .await
            }
            Outcome::Unknown(why) => {
                tracing::warn!(replica = %self.replica, %why, "the replica could not be verified");
                Ok(())
            }
        }
    }

    fn distrust(&self, why: String) {
        self.shared.demand(|marks| {
            marks.distrusted = marks.spooled;
            marks.verification_failed = Some(why);
        });
    }
}

/// A hash of each page of a database, in a file without a name.
struct Hashes {
    file: File,
    seed: u64,
    page_size: PageSize,
    commit: u32,
}

impl Hashes {
    fn of(snapshot: &Snapshot, folder: &Path) -> Result<Self> {
        let fail = |error| failed("write a temporary file in", folder, error);
        let mut out = BufWriter::new(tempfile::tempfile_in(folder).map_err(fail)?);
        let seed = rand::random();
        snapshot.pages(&mut |_, page| {
            let hash = XxHash3_128::oneshot_with_seed(seed, page);
            out.write_all(&hash.to_le_bytes()).map_err(fail)
        })?;
        let mut file = out.into_inner().map_err(|error| fail(error.into_error()))?;
        file.rewind().map_err(fail)?;
        Ok(Self {
            file,
            seed,
            page_size: snapshot.page_size(),
            commit: snapshot.commit(),
        })
    }

    /// What is different in a restored database; `None` if nothing is.
    fn compare(&self, restored: &Path) -> Result<Option<String>> {
        let fail = |error| failed("read", restored, error);
        let database = File::open(restored).map_err(fail)?;
        let len = database.metadata().map_err(fail)?.len();
        let wanted = u64::from(self.commit).saturating_mul(u64::from(self.page_size.get()));
        if len != wanted {
            return Ok(Some(format!(
                "the restored database has {len} bytes instead of {wanted}"
            )));
        }
        let (mut database, mut hashes) = (BufReader::new(database), BufReader::new(&self.file));
        let mut page = vec![0; self.page_size.bytes()];
        let (mut hash, mut first, mut count) = ([0; 16], None, 0_u64);
        for pgno in (1..=self.commit).filter_map(Pgno::new) {
            database.read_exact(&mut page).map_err(fail)?;
            if pgno == self.page_size.lock_page() {
                continue;
            }
            hashes.read_exact(&mut hash).map_err(fail)?;
            if XxHash3_128::oneshot_with_seed(self.seed, &page) != u128::from_le_bytes(hash) {
                first.get_or_insert(pgno);
                count = count.saturating_add(1);
            }
        }
        Ok(first.map(|first| {
            format!("{count} pages of the restored database differ, the first is page {first}")
        }))
    }
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", file, error)),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {what} {}", path.display())).with_source(error)
}
