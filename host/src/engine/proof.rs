//! Waiting for the proof that a replica restores to its database.

use super::fleet::{Handle, stopped};
use super::status::Verified;
use super::sync::{Synced, Until};
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
        let synced = self.clone().sync(Until::Durable).await?;
        self.while_running(self.prove(synced)).await
    }

    async fn prove(&self, synced: Synced) -> Result<Verified> {
        let mut outcomes = self.shared.ask_for_verification();
        let path = &self.path;
        loop {
            outcomes.changed().await.map_err(stopped)?;
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
