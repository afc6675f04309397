//! The contract with a component, in every version that this host runs.
//!
//! Whoever asks speaks the language of `lockkeeper_core` and knows no versions. The newest one is
//! `wit/policy.wit`; each that has shipped is frozen below `wit/frozen` and has an adapter here,
//! which says what was different.

mod check;
mod convert;
mod v0_1;
mod v0_2;

use std::fmt;
use std::result;

use lockkeeper_core::guard::approval::Approval;
use lockkeeper_core::policy::{
    Alert, CheckpointFacts, CheckpointProposal, CompactionFacts, CompactionProposal, Event, Hold,
    HoldFacts, Keep, RestoreFacts, RetentionFacts, SnapshotFacts, SyncFacts, SyncProposal,
    VerificationFacts,
};
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Result, Store};

use super::outside::Outside;
use super::plan::{Diagnostic, Plan};

pub(super) use check::check;
pub(super) use v0_2::{PolicyImports, types};

/// A version of the contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    V0_1,
    V0_2,
}

/// What a component says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    /// What the host must be able to do for it.
    pub(super) needs: Vec<String>,
}

/// An answer that is a list, without what cannot be meant.
#[derive(Debug)]
pub(super) struct Readable<T> {
    pub(super) items: Vec<T>,
    /// How many items were left out.
    pub(super) unreadable: usize,
}

/// An instance of a component, to be asked once.
pub(super) trait Asked {
    fn metadata(&self, store: &mut Store<Outside>) -> Result<Description>;

    fn validate(
        &self,
        store: &mut Store<Outside>,
        source: &str,
        replica_kinds: &[&str],
    ) -> Result<result::Result<Plan, Vec<Diagnostic>>>;

    fn plan_sync(&self, store: &mut Store<Outside>, facts: &SyncFacts) -> Result<SyncProposal>;

    fn plan_checkpoint(
        &self,
        store: &mut Store<Outside>,
        facts: &CheckpointFacts,
    ) -> Result<CheckpointProposal>;

    fn plan_snapshot(
        &self,
        store: &mut Store<Outside>,
        facts: &SnapshotFacts,
    ) -> Result<Option<String>>;

    fn plan_verification(
        &self,
        store: &mut Store<Outside>,
        facts: &VerificationFacts,
    ) -> Result<Option<String>>;

    /// The proposals up to the first one that cannot be meant: those after it build on it.
    fn plan_compaction(
        &self,
        store: &mut Store<Outside>,
        facts: &CompactionFacts,
    ) -> Result<Readable<CompactionProposal>>;

    fn plan_retention(
        &self,
        store: &mut Store<Outside>,
        facts: &RetentionFacts,
    ) -> Result<Readable<Keep>>;

    fn plan_holds(&self, store: &mut Store<Outside>, facts: &HoldFacts) -> Result<Vec<Hold>>;

    fn approve_restore(&self, store: &mut Store<Outside>, facts: &RestoreFacts)
    -> Result<Approval>;

    fn on_event(&self, store: &mut Store<Outside>, event: &Event) -> Result<Vec<Alert>>;
}

/// A compiled component whose imports are linked and which exports the functions of the contract.
pub(super) enum Linked {
    V0_1(v0_1::PolicyPre<Outside>),
    V0_2(v0_2::Compiled),
}

impl Linked {
    pub(super) fn new(version: Version, instance: InstancePre<Outside>) -> Result<Self> {
        match version {
            Version::V0_1 => v0_1::PolicyPre::new(instance).map(Self::V0_1),
            Version::V0_2 => v0_2::Compiled::new(instance).map(Self::V0_2),
        }
    }

    pub(super) fn instantiate(&self, store: &mut Store<Outside>) -> Result<Box<dyn Asked + '_>> {
        Ok(match self {
            Self::V0_1(linked) => Box::new(linked.instantiate(store)?),
            Self::V0_2(linked) => Box::new(linked.instantiate(store)?),
        })
    }
}

/// Links what the contract lets a component import.
pub(super) fn link(linker: &mut Linker<Outside>) -> Result<()> {
    v0_1::link(linker)?;
    v0_2::link(linker)
}

impl Version {
    /// From the oldest on.
    pub(super) const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];
    pub(super) const NEWEST: Self = Self::V0_2;

    /// As the package of the contract has it.
    pub(super) fn number(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    /// The functions that a component of this version must export.
    pub(super) fn exports(self) -> &'static [&'static str] {
        match self {
            Self::V0_1 => &v0_1::EXPORTS,
            Self::V0_2 => &v0_2::EXPORTS,
        }
    }

    /// What the numbers of all versions begin with that a component of this one may be built for:
    /// they differ in their last number.
    fn series(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.",
            Self::V0_2 => "0.2.",
        }
    }
}

/// The world that components implement, as messages name it.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the world `policy` of lockkeeper:policy@{}",
            self.number()
        )
    }
}
