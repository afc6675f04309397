//! Waiting for the proof that a replica restores to its database.

use std::sync::Arc;

use super::fleet::Handle;
use super::status::Verified;
use super::sync::Until;
use super::verification::Outcome;
use crate::{Error, Result};

impl Handle {
    /// Makes everything durable that is committed now, and has it verified; waits without a bound.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the replica does not restore to the database; `Unavailable` if that could not
    /// be found out; as [`Handle::sync`] otherwise.
    pub(crate) async fn verify(self) -> Result<Verified> {
        let shared = Arc::clone(&self.shared);
        let path = self.path.clone();
        let synced = self.sync(Until::Durable).await?;
        let mut outcomes = shared.ask_for_verification();
        loop {
            let ended = || Error::unavailable("replication has stopped");
            outcomes.changed().await.map_err(|_| ended())?;
            let outcome = outcomes.borrow_and_update().clone();
            match outcome {
                // One that was under way may have begun before the last commits.
                Some(Outcome::Proven(it)) if Some(it.txid) < synced.spooled => {}
                Some(Outcome::Proven(verified)) => return Ok(verified),
                Some(Outcome::Failed(why)) => {
                    return Err(Error::corrupt(format!(
                        "the replica of {} does not restore to it: {why}",
                        path.display()
                    )));
                }
                Some(Outcome::Unknown(why)) => {
                    return Err(Error::unavailable(format!(
                        "the replica of {} was not verified: {why}",
                        path.display()
                    )));
                }
                None => {}
            }
        }
    }
}
