//! What every policy must be able to answer before it decides anything.

use lockkeeper_core::decision::{Facts, Proposal};
use lockkeeper_core::vectors;

use super::component::Component;
use super::question::Trial;
use crate::{Error, Result};

/// A configuration that every policy must be able to read.
const CONFIGURATION: &str = "dbs:\n  - path: app.db\n    replica:\n      path: backup\n";
/// What no policy may take for a configuration.
const NO_CONFIGURATION: &str = "dbs: 7\n";

/// Asks the component what [`vectors`] has: it answers all of it within the bounds of the sandbox,
/// and the same when it is asked again; it names files that can be meant; it reads a configuration,
/// and refuses what is none. Returns how many questions that were.
///
/// # Errors
///
/// `Invalid` for the first question without a good answer.
pub fn self_test(component: &Component) -> Result<usize> {
    let asked = component.on_trial(|trial| {
        let mut asked = 0;
        for (name, facts) in vectors::all() {
            check(trial, &facts)
                .map_err(|error| Error::invalid(format!("the test '{name}' failed: {error}")))?;
            asked += 1;
        }
        Ok::<_, Error>(asked)
    })??;
    let reads = |text: &str| Ok::<_, Error>(component.validate(text, &["file"])?.is_valid());
    if !reads(CONFIGURATION)? {
        return Err(Error::invalid("it refuses a configuration that is valid"));
    }
    if reads(NO_CONFIGURATION)? {
        return Err(Error::invalid(format!(
            "it takes {:?} for a configuration",
            NO_CONFIGURATION.trim_end()
        )));
    }
    Ok(asked)
}

fn check(trial: &Trial<'_>, facts: &Facts) -> Result<()> {
    let (first, _) = trial.propose(facts)?;
    let (second, _) = trial.propose(facts)?;
    if first != second {
        return Err(Error::invalid(
            "asked the same twice, it gave two answers; such decisions cannot be replayed",
        ));
    }
    if first == Proposal::Retention(None) {
        return Err(Error::invalid("it keeps files that cannot be meant"));
    }
    Ok(())
}
