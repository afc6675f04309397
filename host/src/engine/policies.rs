//! Changing the policy while replication runs.

use std::sync::Arc;

use super::Lockkeeper;
use crate::policy::{Deciding, Identity, Installation, Installed};
use crate::{Error, Result};

impl Lockkeeper {
    /// Lets another component decide. It is loaded and held against the contract, answers the
    /// questions of [`self_test`](crate::policy::self_test), then answers beside the current one
    /// what that is asked, and decides from one decision to the next. Replication goes on
    /// meanwhile; nothing that is captured or sent waits for it.
    ///
    /// It decides until replication stops. To have it decide after the next start as well, save it
    /// in the configuration store.
    ///
    /// # Errors
    ///
    /// Whatever fails, the current one decides on, and [`Deciding::alarm`] says why. `Invalid` if
    /// the component is not the one that is wanted, breaks the contract, or does not answer;
    /// `Unavailable` if it cannot be read; `Conflict` while another one is installed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn install_policy(&self, wanted: Installation) -> Result<Installed> {
        let fleet = Arc::clone(&self.fleet);
        self.in_runtime(async move { fleet.policy().install(wanted).await })
            .await
    }

    /// Installs the newest generation of the configuration store, if another one decides. `None` if
    /// nothing had to be done.
    ///
    /// # Errors
    ///
    /// As [`Lockkeeper::install_policy`]; `Invalid` if replication was started without a store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the wait, nothing else.
    pub async fn reload_policy(&self) -> Result<Option<Installed>> {
        let fleet = Arc::clone(&self.fleet);
        self.in_runtime(async move { fleet.policy().reload().await })
            .await
    }

    /// Lets the component decide again that did before the last installation, at once. Called
    /// twice, all is as it was.
    ///
    /// # Errors
    ///
    /// `Invalid` if none was installed since the start.
    pub fn roll_back_policy(&self) -> Result<Identity> {
        self.fleet.policy().roll_back()
    }

    /// Who decides.
    #[must_use]
    pub fn deciding(&self) -> Deciding {
        self.fleet.policy().deciding()
    }

    /// The caller may drive another runtime, or end.
    async fn in_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = self.runtime.spawn(work).await;
        done.map_err(|error| Error::unavailable("replication has stopped").with_source(error))?
    }
}
