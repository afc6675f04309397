//! What an operator does with policy components.

mod bench;
mod check;
mod inspect;
mod install;
mod new;
mod replay;
mod report;
mod simulate;
mod test;
mod trial;

use anyhow::Result;

use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Write a new policy: a project that compiles, with its tests
    New(new::New),
    /// Check a component and show what it is
    Inspect(inspect::Inspect),
    /// Check that a component could be installed
    Check(check::Check),
    /// Ask a component what test cases ask, and compare
    Test(test::Test),
    /// Measure what a component costs
    Bench(bench::Bench),
    /// Show what a month with a component would be like
    Simulate(simulate::Simulate),
    /// Show what recorded decisions would be with another component
    Replay(replay::Replay),
    /// Let a component decide: from the configuration store, in a running process, or both
    Install(install::Install),
    /// Let the component before decide again
    Rollback(install::Rollback),
}

impl Policy {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Action::New(it) => it.run(),
            Action::Inspect(it) => it.run(),
            Action::Check(it) => it.run(),
            Action::Test(it) => it.run(),
            Action::Bench(it) => it.run(),
            Action::Simulate(it) => it.run(),
            Action::Replay(it) => it.run(),
            Action::Install(it) => it.run(globals),
            Action::Rollback(it) => it.run(globals),
        }
    }
}
