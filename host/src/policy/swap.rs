//! Puts another component in the place of the one that decides, while it decides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::component::Component;
use super::observer::{Decided, Observer, TraceStats};
use super::selftest::self_test;
use super::served::Served;
use super::shadow::{Shadow, Shadowed};
use super::source::PolicySource;
use super::stored::{Saves, StoredPolicies};
use super::trace::TraceSettings;
use crate::{Error, ErrorKind, Result, clock};

/// How often the store is looked at for a generation that somebody saved.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The component that decides, the one before it, and who watches them.
///
/// A decision looks up who decides once, at its begin: one that is under way while the component
/// changes ends as it began.
#[derive(Debug)]
pub(super) struct Seat {
    state: Mutex<State>,
    observer: Option<Observer>,
    stored: Option<StoredPolicies>,
    /// One installation at a time.
    installing: tokio::sync::Mutex<()>,
    /// One look at the store at a time.
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Served>>,
    previous: Option<Arc<Served>>,
    since_ms: i64,
    alarm: Option<String>,
    /// The store, as it was when its newest generation was last tried.
    tried: Option<Saves>,
}

/// A component by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// What it calls itself.
    pub name: String,
    /// Its version, in its own words.
    pub version: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
}

impl From<&Component> for Identity {
    fn from(component: &Component) -> Self {
        Self {
            name: component.name().into(),
            version: component.version().into(),
            digest: component.digest().into(),
        }
    }
}

/// Who decides.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Deciding {
    /// The component; `None` if the built-in rules decide.
    pub component: Option<Identity>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Who decides after a rollback.
    pub previous: Option<Identity>,
    /// Why the last installation was refused; the component before it decides on. Ends with the
    /// next that succeeds, or a rollback.
    pub alarm: Option<String>,
    /// What was recorded of the decisions.
    pub trace: TraceStats,
}

/// What to install, and how carefully.
///
/// # Example
///
/// ```
/// use lockkeeper::policy::{Installation, PolicySource};
/// let wanted = Installation {
///     shadow_decisions: 100,
///     ..Installation::new(PolicySource::File("thrifty.wasm".into()))
/// };
/// # let _ = wanted;
/// ```
#[derive(Clone, Debug)]
pub struct Installation {
    /// Where the component is.
    pub source: PolicySource,
    /// The SHA-256 that it must have, in hexadecimal; any, if `None`.
    pub sha256: Option<String>,
    /// How many decisions it must answer beside the current one before it decides. The last ones
    /// that were made count.
    pub shadow_decisions: u32,
    /// How long to wait for them. An application that does nothing decides nothing; after this
    /// time those that there were are enough.
    pub shadow_time: Duration,
}

impl Installation {
    /// With twenty decisions beside the current component, or those of ten seconds.
    #[must_use]
    pub fn new(source: PolicySource) -> Self {
        Self {
            source,
            sha256: None,
            shadow_decisions: 20,
            shadow_time: Duration::from_secs(10),
        }
    }
}

/// A component that decides now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Installed {
    /// The component.
    pub component: Identity,
    /// Who decided before.
    pub previous: Option<Identity>,
    /// Questions of the self-test that it answered.
    pub tested: usize,
    /// How it did beside the one before.
    pub shadowed: Shadowed,
}

impl Seat {
    pub(super) fn new(component: Option<Component>, observer: Option<Observer>) -> Self {
        let state = State {
            current: component.map(|component| Arc::new(Served::new(component))),
            since_ms: clock::now_ms(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            observer,
            stored: None,
            installing: tokio::sync::Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
        }
    }

    /// With a thread that watches decisions, and the store from which others come.
    pub(super) fn watched(
        component: Component,
        trace: Option<&TraceSettings>,
        stored: Option<StoredPolicies>,
    ) -> Result<Self> {
        let observer = Observer::start(trace)?;
        Ok(Self {
            stored,
            ..Self::new(Some(component), Some(observer))
        })
    }

    /// Who decides now.
    pub(super) fn current(&self) -> Option<Arc<Served>> {
        self.lock().current.clone()
    }

    pub(super) fn observe(&self, decided: impl FnOnce() -> Decided) {
        if let Some(observer) = &self.observer {
            observer.decided(decided());
        }
    }

    pub(super) fn deciding(&self) -> Deciding {
        let identity =
            |served: &Option<Arc<Served>>| served.as_ref().map(|it| Identity::from(&it.component));
        let state = self.lock();
        Deciding {
            component: identity(&state.current),
            since_ms: state.since_ms,
            previous: identity(&state.previous),
            alarm: state.alarm.clone(),
            trace: self
                .observer
                .as_ref()
                .map(Observer::stats)
                .unwrap_or_default(),
        }
    }

    /// Loads, tests and tries a component, and lets it decide. Whatever fails, the current one
    /// decides on, and the reason stands in [`Deciding::alarm`].
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// `Invalid` if the component is not the one that is wanted, breaks the contract, or does not
    /// answer; `Unavailable` if it cannot be read; `Conflict` while another one is installed.
    pub(super) async fn install(&self, wanted: Installation) -> Result<Installed> {
        let Ok(_installing) = self.installing.try_lock() else {
            return Err(Error::conflict(
                "another policy is being installed; try again",
            ));
        };
        let source = wanted.source.to_string();
        match self.prepare(wanted).await {
            Ok((component, tested, shadowed)) => Ok(self.switch(component, tested, shadowed)),
            Err(error) => {
                self.refuse(format!("{source} was not installed: {error}"));
                Err(error)
            }
        }
    }

    /// Installs the newest generation of the store, unless it decides already.
    ///
    /// Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// As [`Self::install`]; `Invalid` if there is no store.
    pub(super) async fn reload(self: Arc<Self>) -> Result<Option<Installed>> {
        let Some(stored) = self.stored.clone() else {
            return Err(Error::invalid(
                "replication was started without a configuration store: install the policy itself",
            ));
        };
        // Who comes second finds that nothing is left to do.
        let _turn = self.reloading.lock().await;
        // In this order: what is saved meanwhile is looked at later.
        let read = move || (stored.saves().ok(), stored.get(0));
        let read = tokio::task::spawn_blocking(read).await;
        let died = |error| Error::internal("reading a policy panicked").with_source(error);
        let (saves, source) = read.map_err(died)?;
        let tried = self.install_stored(source).await;
        // While another one is installed it is not even looked at.
        if !matches!(&tried, Err(error) if error.kind() == ErrorKind::Conflict) {
            self.lock().tried = saves;
        }
        tried
    }

    async fn install_stored(
        &self,
        source: Result<Option<PolicySource>>,
    ) -> Result<Option<Installed>> {
        let source = source.inspect_err(|error| {
            self.refuse(format!("the stored policy was not installed: {error}"));
        })?;
        let source = source.unwrap_or_default();
        let digest = source.digest()?;
        let is_current = |served: Arc<Served>| *served.digest == *digest;
        if self.current().is_some_and(is_current) {
            return Ok(None);
        }
        self.install(Installation::new(source)).await.map(Some)
    }

    /// Installs each generation that is saved in the store after whoever decides began to, for as
    /// long as it is polled: what is ordered later counts. Returns at once if there is no store.
    ///
    /// Must be called within a runtime.
    pub(super) async fn follow_store(self: Arc<Self>) {
        let Some(stored) = self.stored.clone() else {
            return;
        };
        let saves = || {
            let stored = stored.clone();
            // A store that does not answer is asked again.
            let look = tokio::task::spawn_blocking(move || stored.saves().ok());
            async { look.await.ok().flatten() }
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(saves) = saves().await else { continue };
            let (since_ms, tried) = {
                let state = self.lock();
                (state.since_ms, state.tried.clone())
            };
            if tried.as_ref() != Some(&saves) && !saves.all_before(since_ms) {
                // What became of it stands in the log and in the status.
                let _ = Arc::clone(&self).reload().await;
            }
        }
    }

    /// Says in status and log that a component was refused; the current one decides on.
    pub(super) fn refuse(&self, why: String) {
        tracing::error!(%why, "a policy was refused; the one before decides on");
        self.lock().alarm = Some(why);
    }

    async fn prepare(&self, wanted: Installation) -> Result<(Component, usize, Shadowed)> {
        let Installation {
            source,
            sha256,
            shadow_decisions,
            shadow_time,
        } = wanted;
        let load = move || {
            let component = Component::load_pinned(&source, sha256.as_deref())?;
            let tested = self_test(&component)?;
            Ok::<_, Error>((component, tested))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let died = |error| Error::internal("loading a policy panicked").with_source(error);
        let (component, tested) = loaded.map_err(died)??;
        let shadowed = self
            .shadow(&component, shadow_decisions, shadow_time)
            .await?;
        Ok((component, tested, shadowed))
    }

    /// Lets the component answer beside the current one.
    async fn shadow(&self, component: &Component, wanted: u32, time: Duration) -> Result<Shadowed> {
        let Some(observer) = self.observer.as_ref().filter(|_| wanted > 0) else {
            return Ok(Shadowed::default());
        };
        let (shadow, mut reported) = Shadow::new(component.clone(), wanted);
        observer.begin(shadow)?;
        let report = match tokio::time::timeout(time, &mut reported).await {
            Ok(report) => report,
            Err(_) => {
                observer.end();
                // Whatever the candidate is busy with has a deadline.
                reported.await
            }
        };
        match report {
            Ok(Ok(shadowed)) => Ok(shadowed),
            Ok(Err(why)) => Err(Error::invalid(format!(
                "the policy {} gave no answer beside the current one, {why}",
                component.name()
            ))),
            Err(_) => Err(Error::unavailable("replication has stopped")),
        }
    }

    fn switch(&self, component: Component, tested: usize, shadowed: Shadowed) -> Installed {
        let identity = Identity::from(&component);
        let mut state = self.lock();
        // Installing what decides already must not make it its own way back.
        let is_other = |served: &Arc<Served>| served.component.digest() != identity.digest;
        if let Some(before) = state.current.take().filter(is_other) {
            state.previous = Some(before);
        }
        state.current = Some(Arc::new(Served::new(component)));
        state.since_ms = clock::now_ms();
        state.alarm = None;
        let previous = state
            .previous
            .as_ref()
            .map(|it| Identity::from(&it.component));
        drop(state);
        tracing::info!(
            policy = %identity.name, version = %identity.version, digest = %identity.digest,
            tested, shadowed = shadowed.decisions, differed = shadowed.differed,
            "a policy was installed"
        );
        Installed {
            component: identity,
            previous,
            tested,
            shadowed,
        }
    }

    /// Lets the one before decide again; called twice, all is as it was.
    ///
    /// # Errors
    ///
    /// `Invalid` if there is none.
    pub(super) fn roll_back(&self) -> Result<Identity> {
        let mut state = self.lock();
        let Some(before) = state.previous.take() else {
            return Err(Error::invalid(
                "there is no policy to go back to: none was installed since the start",
            ));
        };
        let identity = Identity::from(&before.component);
        state.previous = state.current.replace(before);
        state.since_ms = clock::now_ms();
        state.alarm = None;
        drop(state);
        tracing::info!(policy = %identity.name, digest = %identity.digest, "went back to the policy before");
        Ok(identity)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
