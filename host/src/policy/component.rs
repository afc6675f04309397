//! A policy component that was compiled and held against the contract.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lockkeeper_core::text::printable;
use sha2::{Digest, Sha256};
use wasmtime::component::Component as Compiled;
use wasmtime::{Engine, Store};

use super::contract::{self, Asked, Description, Linked, Version};
use super::failure::{Cause, Failure};
use super::journal::Journal;
use super::outside::Outside;
use super::plan::{Diagnostic, Plan, Severity};
use super::sandbox::{Bounds, DECISION, Sandbox, Usage, VALIDATION};
use super::source::{PolicySource, hex};
use crate::{Error, Result};

/// The longest name or version of a component, in characters.
const NAME_CHARS_MAX: usize = 60;
/// The longest summary of a component, in characters.
const SUMMARY_CHARS_MAX: usize = 200;
/// What a component of any version may need of this host.
const ABILITIES: [&str; 4] = ["budget", "events", "holds", "restore-approval"];
/// The largest configuration that is handed to a component, in bytes: half of its memory.
const CONFIGURATION_BYTES_MAX: usize = 16 << 20;

/// A policy component, compiled and ready to be asked. Clones share it.
///
/// # Example
///
/// ```
/// use lockkeeper::policy::{Component, PolicySource};
/// let policy = Component::load(&PolicySource::Embedded)?;
/// let found = policy.validate("dbs:\n  - path: 7\n", &["file"])?;
/// assert!(!found.is_valid());
/// for diagnostic in found.diagnostics() {
///     println!("{diagnostic}");
/// }
/// # Ok::<(), lockkeeper::Error>(())
/// ```
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    sandbox: &'static Sandbox,
    linked: Linked,
    contract: Version,
    journal: Arc<Journal>,
    name: String,
    version: String,
    summary: String,
    digest: String,
    import_names: Vec<String>,
    export_names: Vec<String>,
    size: usize,
}

impl Component {
    /// Reads and compiles a component, and asks it who it is.
    ///
    /// The embedded one is compiled once in a process. Blocks for the time of a compilation: some
    /// tenths of a second.
    ///
    /// # Errors
    ///
    /// `Invalid` if this is not a component that implements a version of the policy world and
    /// imports `log` only, if it does not answer, or if it needs what this host cannot do;
    /// `Unavailable` if the file cannot be read.
    pub fn load(source: &PolicySource) -> Result<Self> {
        static EMBEDDED: Mutex<Option<Component>> = Mutex::new(None);
        if !matches!(source, PolicySource::Embedded) {
            return Self::compile(source);
        }
        let mut embedded = EMBEDDED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = &*embedded {
            return Ok(component.clone());
        }
        let component = Self::compile(source)?;
        Ok(embedded.insert(component).clone())
    }

    /// As [`Self::load`], if the component has this SHA-256 in hexadecimal.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]; `Invalid` if it has another.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> lockkeeper::Result<()> {
    /// use lockkeeper::policy::{Component, PolicySource};
    ///
    /// let digest = PolicySource::Embedded.digest()?;
    /// let component = Component::load_pinned(&PolicySource::Embedded, Some(&digest))?;
    /// assert_eq!(component.digest(), digest);
    /// println!("{} {}: {}", component.name(), component.version(), component.summary());
    /// println!("{} bytes for contract {}", component.size(), component.contract());
    /// println!("imports {:?}, exports {:?}", component.imports(), component.exports());
    /// assert!(Component::load_pinned(&PolicySource::Embedded, Some("00")).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_pinned(source: &PolicySource, sha256: Option<&str>) -> Result<Self> {
        if let Some(expected) = sha256 {
            let found = source.digest()?;
            if !found.eq_ignore_ascii_case(expected) {
                return Err(Error::invalid(format!(
                    "{source} has the SHA-256 {found}, expected {expected}"
                )));
            }
        }
        let component = Self::load(source)?;
        // A file may have been replaced since.
        match sha256 {
            Some(expected) if !component.digest().eq_ignore_ascii_case(expected) => {
                Err(Error::invalid(format!(
                    "{source} was replaced while it was read; try again"
                )))
            }
            _ => Ok(component),
        }
    }

    fn compile(source: &PolicySource) -> Result<Self> {
        let bytes = source.read()?;
        let sandbox = Sandbox::get()?;
        let fail = |why: String| Error::invalid(format!("{source} cannot be used: {why}"));
        is_component(&bytes).map_err(|why| fail(why.to_owned()))?;
        let runtime = |error: wasmtime::Error| fail(printable(&format!("{error:#}"), 500));
        let compiled = Compiled::from_binary(&sandbox.engine, &bytes).map_err(|error| {
            // Wasmtime has no type for what a module declares and the pool has no place for.
            if format!("{error:#}").contains("pooling allocator") {
                fail(format!("{}: {:#}", Cause::Memory, error.root_cause()))
            } else {
                runtime(error)
            }
        })?;
        let version =
            contract::check(&sandbox.engine, &compiled).map_err(|why| fail(why.to_string()))?;
        let linked = sandbox
            .linker
            .instantiate_pre(&compiled)
            .and_then(|instance| Linked::new(version, instance))
            .map_err(|error| {
                let error = printable(&format!("{error:#}"), 500);
                fail(format!("it does not match {version}: {error}"))
            })?;
        let digest = hex(&Sha256::digest(&bytes));
        let journal = Arc::new(Journal::new(digest.chars().take(12).collect()));
        let outside = Outside::new(Some(journal));
        let describe = |asked: &dyn Asked, store: &mut Store<Outside>| asked.metadata(store);
        let (described, _) = on_own_thread(|| sandbox.call(&linked, DECISION, outside, describe))?;
        let described = described.map_err(|why| fail(format!("asked who it is: {why}")))?;
        can_serve(&described).map_err(fail)?;
        let name = printable(&described.name, NAME_CHARS_MAX);
        let ty = compiled.component_type();
        Ok(Self(Arc::new(Inner {
            sandbox,
            linked,
            contract: version,
            journal: Arc::new(Journal::new(name.clone())),
            name,
            version: printable(&described.version, NAME_CHARS_MAX),
            summary: printable(&described.summary, SUMMARY_CHARS_MAX),
            digest,
            import_names: ty
                .imports(&sandbox.engine)
                .map(|(name, _)| name.to_owned())
                .collect(),
            export_names: ty
                .exports(&sandbox.engine)
                .map(|(name, _)| name.to_owned())
                .collect(),
            size: bytes.len(),
        })))
    }

    /// What it calls itself. Like all its texts, bounded and fit to be printed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its version, in its own words.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// What it does, in its own words.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.0.summary
    }

    /// The SHA-256 of its bytes, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The version of the contract that it is built for.
    #[must_use]
    pub fn contract(&self) -> &'static str {
        self.0.contract.number()
    }

    /// The names of what it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.import_names
    }

    /// The names of what it exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.0.export_names
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Reads a configuration for a host that has these kinds of replica. A component that answers
    /// with an empty list of problems leaves it to the embedded one.
    ///
    /// The instance that saw the text is thrown away, and nothing that it logs or prints is kept.
    ///
    /// # Errors
    ///
    /// `Invalid` if the component gives no answer, or the text is larger than 16 MiB. A
    /// configuration with errors is an answer.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> lockkeeper::Result<()> {
    /// use lockkeeper::policy::{Component, PolicySource};
    ///
    /// let component = Component::load(&PolicySource::Embedded)?;
    /// let text = "dbs: [{path: app.db, replica: {path: backup}}]";
    /// let validation = component.validate(text, &["file", "s3"])?;
    /// assert!(validation.is_valid() && validation.diagnostics().is_empty());
    /// println!("{} bytes of memory", validation.memory_bytes());
    /// # Ok(())
    /// # }
    /// ```
    pub fn validate(&self, source: &str, replica_kinds: &[&str]) -> Result<Validation> {
        if source.len() > CONFIGURATION_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the configuration is larger than {} MiB",
                CONFIGURATION_BYTES_MAX >> 20
            )));
        }
        let validate = |asked: &dyn Asked, store: &mut Store<Outside>| {
            asked.validate(store, source, replica_kinds)
        };
        let outside = Outside::new(None);
        let (answer, usage) = on_own_thread(|| {
            let Inner {
                sandbox, linked, ..
            } = &*self.0;
            sandbox.call(linked, VALIDATION, outside, validate)
        })?;
        let outcome = match answer {
            Ok(Ok(plan)) => accept(plan),
            // It leaves reading configurations to others, as most that only decide do.
            Ok(Err(found)) if found.is_empty() => {
                let embedded = Self::load(&PolicySource::Embedded)?;
                if embedded.digest() == self.digest() {
                    return Err(Error::internal(
                        "the embedded policy reads no configuration",
                    ));
                }
                return embedded.validate(source, replica_kinds);
            }
            Ok(Err(found)) => Err(found),
            Err(why) => {
                return Err(Error::invalid(format!(
                    "the policy {} could not read the configuration: {why}",
                    self.name()
                )));
            }
        };
        Ok(Validation { outcome, usage })
    }

    /// Asks for a decision. Must run where blocking is allowed.
    pub(super) fn decide<T>(
        &self,
        bounds: Bounds,
        call: impl FnOnce(&dyn Asked, &mut Store<Outside>) -> wasmtime::Result<T>,
    ) -> (std::result::Result<T, Failure>, Usage) {
        let outside = Outside::new(Some(Arc::clone(&self.0.journal)));
        self.0.sandbox.call(&self.0.linked, bounds, outside, call)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

/// What a component found in a configuration.
#[derive(Debug)]
pub struct Validation {
    outcome: std::result::Result<Plan, Vec<Diagnostic>>,
    usage: Usage,
}

impl Validation {
    /// Whether the configuration can be used.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The problems, and what is worth knowing.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match &self.outcome {
            Ok(plan) => &plan.diagnostics,
            Err(found) => found,
        }
    }

    /// The memory that the component took for it, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.usage.memory_bytes
    }

    /// What the configuration asks for, or what is wrong with it.
    pub(crate) fn into_plan(self) -> std::result::Result<Plan, Vec<Diagnostic>> {
        self.outcome
    }
}

/// A plan that comes with an error is none: the component contradicts itself.
fn accept(plan: Plan) -> std::result::Result<Plan, Vec<Diagnostic>> {
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    if plan.diagnostics.iter().any(is_error) {
        Err(plan.diagnostics)
    } else {
        Ok(plan)
    }
}

/// A component that needs what this host cannot do must not run here.
fn can_serve(described: &Description) -> std::result::Result<(), String> {
    let lacks = |need: &&String| !ABILITIES.contains(&need.as_str());
    match described.needs.iter().find(lacks) {
        None => Ok(()),
        Some(need) => Err(format!(
            "it needs `{}`, and this host has {}",
            printable(need, NAME_CHARS_MAX),
            ABILITIES.join(", ")
        )),
    }
}

/// Tells a component from what is often taken for one.
fn is_component(bytes: &[u8]) -> std::result::Result<(), &'static str> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err("it is compiled for a processor; give the WebAssembly it was compiled from");
    }
    // "\0asm", a version, and whether it is a core module (0) or a component (1).
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => {
            Err("it is a core module; build it as a component, for example for wasm32-wasip2")
        }
        _ => Err("it is not WebAssembly in binary form"),
    }
}

/// What a component prints goes through calls that block on a runtime, which a thread that already
/// drives one must not do.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let fail = |error| Error::unavailable("cannot start a thread").with_source(error);
    let log = tracing::dispatcher::get_default(Clone::clone);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let _entered = runtime.enter();
        Ok(tracing::dispatcher::with_default(&log, work))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("lockkeeper-load".into())
            .spawn_scoped(scope, work)
            .map_err(fail)?;
        match thread.join() {
            Ok(done) => done.map_err(fail),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
