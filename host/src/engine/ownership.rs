//! The object at the root of a replica that says who writes to it, kept up to date.
//!
//! Each write of it is conditional, so it also shows whether somebody else took the replica over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockkeeper_core::ownership::{
    Claim, MARKER_KEY, Marker, MarkerError, Verdict, Writer, claim, next_head, verdict,
};
use lockkeeper_core::policy::{RestoreAction, RestoreFacts};
use lockkeeper_ltx::Txid;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::database::blocking;
use super::shared::DatabaseShared;
use super::status::DatabaseState;
use crate::policy::Policy;
use crate::store::{Expected, Replica, Version};
use crate::{Error, ErrorKind, Result, clock};

/// Between two writes of the head: what a restore may miss without a word is what was confirmed in
/// this time. It costs a busy database two requests a minute.
const NOTE_INTERVAL: Duration = Duration::from_secs(30);
/// How long to wait after a confirmation, so that a burst is noted once, at its end.
const SETTLE: Duration = Duration::from_secs(1);
/// Nothing is sent, merged or deleted on an older proof of ownership: by then another owner may
/// have deleted its own file of the number that is sent next. Longer than [`NOTE_INTERVAL`], so
/// that a busy database, which proves it with each note, is not asked more often.
const PROOF_AGE_MAX: Duration = Duration::from_secs(60);
/// How long the last write of the head may keep the end waiting.
const LAST_NOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a write is tried against others who write at the same moment.
const WRITE_TRIES: u32 = 8;

/// What one database knows of who owns its replica.
pub(super) struct Ownership {
    replica: Replica,
    writer: Writer,
    shared: Arc<DatabaseShared>,
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Where the replica ends that lost its head, if the local files do not have it either.
    lost_after: Option<Option<Txid>>,
}

/// A claim that was written.
struct Held {
    marker: Marker,
    version: Version,
    proven: Instant,
    /// The same on the wall clock, which goes on while the machine sleeps.
    proven_ms: i64,
}

impl Ownership {
    pub(super) fn new(
        replica: Replica,
        writer: Writer,
        shared: Arc<DatabaseShared>,
        policy: Policy,
    ) -> Self {
        Self {
            replica,
            writer,
            shared,
            policy,
            state: Mutex::default(),
        }
    }

    /// Becomes the owner of the replica, whoever was it before. Returns the last transaction that
    /// is known to have been durable.
    ///
    /// # Errors
    ///
    /// If the replica does not answer, a newer version of lockkeeper wrote there, or the policy
    /// protects another writer.
    pub(super) async fn claim(&self) -> Result<Option<Txid>> {
        let mut state = self.state.lock().await;
        for _ in 0..WRITE_TRIES {
            let (found, version) = self.read().await?;
            let epoch_seen = state.epoch();
            let (kind, marker) = claim(found.as_ref(), &self.writer, epoch_seen, now_ms());
            if let (Claim::TakeOver, Some(found)) = (kind, &found) {
                self.approve_take_over(found).await?;
            }
            let expected = version.as_ref().map_or(Expected::Absent, Expected::Version);
            let Some(held) = self.write(&marker, expected).await? else {
                continue;
            };
            state.held = Some(held);
            if let (Claim::TakeOver, Some(found)) = (kind, &found) {
                tracing::warn!(
                    replica = %self.replica, from = %found.owner(), database = found.database(),
                    epoch = marker.epoch(), "took the replica over"
                );
            }
            return Ok(marker.head());
        }
        Err(self.contended())
    }

    async fn approve_take_over(&self, found: &Marker) -> Result<()> {
        let facts = RestoreFacts {
            now_ms: now_ms(),
            action: RestoreAction::TakeOver,
            database: self.shared.name(),
            newest_txid: found.head().map_or(0, Txid::get),
            newest_created_ms: None,
            other_database: Some(found.database()),
            other_seen_ms: Some(found.updated_ms()),
        };
        let policy = self.policy.clone();
        let approved = blocking(move || Ok(policy.approve_restore(&facts))).await?;
        approved.map_err(|reason| {
            Error::unavailable(format!(
                "the policy does not let {} be taken over from {} of {}: {reason}",
                self.replica,
                found.database(),
                found.owner()
            ))
        })
    }

    /// The local files now go on where the replica ends. If the head is lost, files are numbered
    /// after that end, which is given as `lost_after`.
    pub(super) async fn reconciled(&self, lost_after: Option<Option<Txid>>) {
        let mut state = self.state.lock().await;
        state.lost_after = lost_after;
    }

    /// Asks the replica whether it is still ours.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Fenced`] if it is not; [`ErrorKind::Conflict`] if it was put back to an older
    /// state, so that everything must begin with a new claim.
    pub(super) async fn check(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        self.prove(&mut state).await
    }

    /// As [`Self::check`], unless it was proven a short while ago.
    pub(super) async fn check_if_old(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let is_fresh = state.held.as_ref().is_some_and(Held::is_fresh);
        #[cfg(test)]
        let is_fresh = is_fresh && !self.shared.is_proof_old();
        if is_fresh {
            return Ok(());
        }
        self.prove(&mut state).await
    }

    /// Notes the head from time to time, for as long as it is polled.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]. A replica that does not answer is asked again the next time.
    pub(super) async fn keep_noting(&self) -> Result<()> {
        let mut durable = self.shared.subscribe_durable();
        let mut next = Instant::now();
        loop {
            if durable.changed().await.is_err() {
                return std::future::pending().await;
            }
            tokio::time::sleep_until(next.max(Instant::now() + SETTLE)).await;
            let head = durable.borrow_and_update().txid;
            next = Instant::now() + NOTE_INTERVAL;
            match self.note(head).await {
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(replica = %self.replica, %error, "cannot note the head");
                }
                Ok(()) => {}
            }
        }
    }

    /// Notes the head for the last time.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]. A head that could not be noted hides no loss that it would not have
    /// hidden before, so it is logged only.
    pub(super) async fn note_last(&self) -> Result<()> {
        let note = self.note(self.shared.read(|marks| marks.durable));
        match tokio::time::timeout(LAST_NOTE_TIMEOUT, note).await {
            Ok(Err(error)) if is_final(&error) => Err(error),
            Ok(Err(error)) => {
                tracing::warn!(replica = %self.replica, %error, "cannot note the head");
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
            Err(_) => {
                tracing::warn!(replica = %self.replica, "no answer while the head was noted");
                Ok(())
            }
        }
    }

    async fn note(&self, durable: Option<Txid>) -> Result<()> {
        let mut state = self.state.lock().await;
        for _ in 0..WRITE_TRIES {
            let Some((marker, version)) = state.next(durable) else {
                return Ok(());
            };
            match self.write(&marker, Expected::Version(&version)).await? {
                Some(held) => state.held = Some(held),
                // Perhaps it is ours: written earlier, and only the answer was lost.
                None => self.prove(&mut state).await?,
            }
        }
        match state.next(durable) {
            None => Ok(()),
            Some(_) => Err(self.contended()),
        }
    }

    async fn prove(&self, state: &mut State) -> Result<()> {
        let (found, version) = self.read().await?;
        let verdict = verdict(found.as_ref(), &self.writer, state.epoch());
        match (verdict, found, version) {
            (Verdict::Mine, Some(marker), Some(version)) => {
                state.held = Some(Held::new(marker, version));
                Ok(())
            }
            (Verdict::Fenced, Some(marker), _) => Err(self.fenced(&marker)),
            (Verdict::PutBack, ..) => Err(Error::conflict(format!(
                "{} was put back to an older state; starting again from there",
                self.replica
            ))),
            (_, _, version) => {
                tracing::warn!(replica = %self.replica, "{MARKER_KEY} is gone; it is made again");
                let (_, marker) = claim(None, &self.writer, state.epoch(), now_ms());
                let head = state.held.as_ref().and_then(|held| held.marker.head());
                let marker = marker.with_head(head, now_ms());
                let expected = version.as_ref().map_or(Expected::Absent, Expected::Version);
                let held = self.write(&marker, expected).await?;
                state.held = Some(held.ok_or_else(|| self.contended())?);
                Ok(())
            }
        }
    }

    fn contended(&self) -> Error {
        let text = format!("others write {MARKER_KEY} of {} all the time", self.replica);
        Error::unavailable(text)
    }

    /// Says to everybody that another writer owns the replica.
    fn fenced(&self, owner: &Marker) -> Error {
        let text = format!(
            "{} belongs to another writer, which took it over: {} of {} (epoch {}). Nothing is sent \
             any more. Stop one of the two; if this one is to go on, start it again after that",
            self.replica,
            owner.database(),
            owner.owner(),
            owner.epoch(),
        );
        self.shared.fence(
            &text,
            DatabaseState::Fenced {
                owner: owner.owner().to_string(),
                database: owner.database(),
                epoch: owner.epoch(),
            },
        );
        Error::new(ErrorKind::Fenced, text)
    }

    /// What is there. Something that is no marker counts as none, and is replaced.
    async fn read(&self) -> Result<(Option<Marker>, Option<Version>)> {
        let Some((bytes, version)) = self.replica.store().get_small(MARKER_KEY).await? else {
            return Ok((None, None));
        };
        match Marker::parse(&bytes) {
            Ok(marker) => Ok((Some(marker), Some(version))),
            Err(error @ MarkerError::Newer { .. }) => {
                Err(Error::invalid(self.replica.to_string()).with_source(error))
            }
            Err(error) => {
                tracing::warn!(replica = %self.replica, %error, "it is made again");
                Ok((None, Some(version)))
            }
        }
    }

    /// `None` if something else is there than what is expected.
    async fn write(&self, marker: &Marker, expected: Expected<'_>) -> Result<Option<Held>> {
        let encoded = marker.encode().map_err(|error| {
            Error::internal("cannot encode who owns a replica").with_source(error)
        })?;
        let put = self
            .replica
            .store()
            .put_if(MARKER_KEY, Bytes::from(encoded), expected);
        match put.await {
            Ok(version) => Ok(Some(Held::new(marker.clone(), version))),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Held {
    fn new(marker: Marker, version: Version) -> Self {
        Self {
            marker,
            version,
            proven: Instant::now(),
            proven_ms: clock::now_ms(),
        }
    }

    fn is_fresh(&self) -> bool {
        let slept_ms = clock::now_ms().abs_diff(self.proven_ms);
        self.proven.elapsed().max(Duration::from_millis(slept_ms)) < PROOF_AGE_MAX
    }
}

impl State {
    fn epoch(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.marker.epoch())
    }

    /// What to write now that `durable` is confirmed, and over what; `None` if it is there.
    fn next(&self, durable: Option<Txid>) -> Option<(Marker, Version)> {
        let held = self.held.as_ref()?;
        // The loss stays on record until a file of ours has taken the place of what was lost.
        let is_made_up_for = self.lost_after.is_some_and(|end| durable > end);
        let head = next_head(held.marker.head(), durable, is_made_up_for);
        (head != held.marker.head())
            .then(|| (held.marker.with_head(head, now_ms()), held.version.clone()))
    }
}

/// Whether another try cannot help: the work must end, or begin again.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict)
}

fn now_ms() -> u64 {
    u64::try_from(clock::now_ms()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
