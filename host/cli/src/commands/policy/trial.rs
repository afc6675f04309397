//! Components that are asked beside any engine.

use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::policy::decision::Facts;
use lockkeeper::policy::simulation::load::{Commit, Outage};
use lockkeeper::policy::simulation::{Report, Settings, run};
use lockkeeper::policy::{Component, PolicySource};

/// The component in `file`, or the built-in one.
pub(super) fn load(file: Option<&PathBuf>) -> Result<Component> {
    let source = file.map_or(PolicySource::Embedded, |file| {
        PolicySource::File(file.clone())
    });
    Ok(Component::load(&source)?)
}

/// A load, and what holds for it.
pub(super) struct Situation {
    pub(super) settings: Settings,
    pub(super) commits: Vec<Commit>,
    pub(super) outages: Vec<Outage>,
    pub(super) end_ms: u64,
}

impl Situation {
    /// What comes of it with `component`.
    pub(super) fn with(&self, component: &Component) -> Result<Report> {
        let report = component.on_trial(|trial| {
            // No answer is counted; the built-in rules decide then, as in the host.
            let mut ask = |facts: &Facts| trial.propose(facts).ok().map(|(proposal, _)| proposal);
            let commits = self.commits.iter().copied();
            run(
                &self.settings,
                commits,
                &self.outages,
                self.end_ms,
                &mut ask,
            )
        })?;
        Ok(report)
    }
}
