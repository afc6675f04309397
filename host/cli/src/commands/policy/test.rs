use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lockkeeper::policy::decision::{Facts, Proposal};
use lockkeeper::policy::{Trial, self_test};
use serde::Deserialize;
use serde_json::Value;

use super::trial;
use crate::text;

#[derive(clap::Args)]
pub(crate) struct Test {
    /// The component
    file: PathBuf,
    /// Files with test cases, or folders with `.json` files
    cases: Vec<PathBuf>,
}

/// What is asked, and what must be answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    facts: Facts,
    /// The proposal; or, for snapshots and verifications, whether there is one.
    expect: Value,
}

impl Test {
    pub(super) fn run(self) -> Result<()> {
        let component = trial::load(Some(&self.file))?;
        let asked = self_test(&component)?;
        text::say(format_args!("ok: the self-test, {asked} questions"))?;
        let mut cases = Vec::new();
        for path in &self.cases {
            cases.extend(read(path)?);
        }
        let failed = component.on_trial(|trial| {
            let met = cases.iter().map(|case| check(trial, case));
            let met = met.collect::<Result<Vec<bool>>>()?;
            anyhow::Ok(met.into_iter().filter(|is_met| !is_met).count())
        })??;
        if failed > 0 {
            bail!("{failed} of {} cases failed", cases.len());
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<Case>> {
    let what = || format!("cannot read test cases from {}", path.display());
    if !path.is_dir() {
        let text = fs::read_to_string(path).with_context(what)?;
        return serde_json::from_str(&text).with_context(what);
    }
    let entries = fs::read_dir(path).with_context(what)?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "json"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        cases.extend(read(&path)?);
    }
    Ok(cases)
}

/// Whether the component answers as it should; says so.
fn check(trial: &Trial<'_>, case: &Case) -> Result<bool> {
    let found = match trial.propose(&case.facts) {
        Ok((proposal, _)) => proposal,
        Err(error) => {
            text::say(format_args!("FAILED: {}: {error}", case.name))?;
            return Ok(false);
        }
    };
    let is_met = match (&found, &case.expect) {
        (Proposal::Snapshot(reason) | Proposal::Verification(reason), Value::Bool(wanted)) => {
            reason.is_some() == *wanted
        }
        (found, expected) => serde_json::to_value(found).is_ok_and(|found| found == *expected),
    };
    if is_met {
        text::say(format_args!("ok: {}", case.name))?;
    } else {
        let found = serde_json::to_string(&found).unwrap_or_default();
        text::say(format_args!(
            "FAILED: {}: expected {}, found {found}",
            case.name, case.expect
        ))?;
    }
    Ok(is_met)
}
