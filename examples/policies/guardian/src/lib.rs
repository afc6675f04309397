//! *guardian*: keeps grandfathers, fathers and sons, holds what the law asks for, and has the
//! replica proven every day.
//!
//! | what | is kept |
//! |---|---|
//! | sons: the last snapshot of each day | a week |
//! | fathers: the last snapshot of each week | five weeks |
//! | grandfathers: the last snapshot of each four weeks | a year |
//! | the points of [`LEGAL_HOLDS`] | until they are taken out of the list |
//!
//! A database that is missing is restored only from a replica that was written lately: an old one
//! may be that of another time, and a person should look first.

#[path = "../../../../host/cli/templates/policy/src/rules.rs"]
pub mod rules;

wit_bindgen::generate!({ path: "../../../wit", world: "policy" });

use lockkeeper::policy::types::*;

const DAY: u64 = 24 * 60 * 60 * 1000;
/// Periods with how long the last snapshot of each is kept, and what it is called.
const GENERATIONS: [(u64, u64, &str); 3] = [
    (DAY, 7 * DAY, "is the last of its day"),
    (7 * DAY, 35 * DAY, "is the last of its week"),
    (28 * DAY, 365 * DAY, "is the last of its four weeks"),
];
/// Points in time that must stay restorable, in milliseconds since 1970, with the case each is for.
/// Empty, until there is one; for example `(1_764_547_200_000, "case 17")`.
const LEGAL_HOLDS: &[(u64, &str)] = &[];
/// How old the newest transaction of a replica may be for a restore without a person.
const RESTORE_AGE_MAX: u64 = 30 * DAY;

struct Guardian;

impl Guest for Guardian {
    fn metadata() -> Description {
        Description {
            name: "guardian".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "grandfathers, fathers and sons; legal holds; a proof every day".into(),
            needs: vec!["holds".into(), "restore-approval".into()],
        }
    }

    fn validate(_source: String, _context: Context) -> Result<Plan, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn plan_sync(facts: SyncFacts) -> SyncProposal {
        rules::sync(&facts)
    }

    fn plan_checkpoint(facts: CheckpointFacts) -> CheckpointProposal {
        rules::checkpoint(&facts)
    }

    /// One a day in any case, or there would be no sons to keep.
    fn plan_snapshot(facts: SnapshotFacts) -> Option<String> {
        rules::snapshot(&SnapshotFacts {
            snapshot_interval: facts.snapshot_interval.clamp(1, DAY),
            ..facts
        })
    }

    /// Whatever is configured, once a day.
    fn plan_verification(facts: VerificationFacts) -> Option<String> {
        let configured = facts.validation_interval;
        rules::verification(&VerificationFacts {
            validation_interval: if configured == 0 {
                DAY
            } else {
                configured.min(DAY)
            },
            ..facts
        })
    }

    fn plan_compaction(facts: CompactionFacts) -> Vec<CompactionProposal> {
        rules::compaction(&facts)
    }

    fn plan_retention(facts: RetentionFacts) -> Vec<Keep> {
        let mut keeps = rules::retention(&facts);
        for (period, kept_for, reason) in GENERATIONS {
            keeps.extend(last_of_each(&facts, period, kept_for).map(|file| Keep {
                level: file.level,
                min_txid: file.min_txid,
                max_txid: file.max_txid,
                reason: reason.into(),
            }));
        }
        keeps
    }

    fn plan_holds(_facts: HoldFacts) -> Vec<Hold> {
        let hold = |&(at, case): &(u64, &str)| Hold {
            at,
            reason: case.into(),
        };
        LEGAL_HOLDS.iter().map(hold).collect()
    }

    fn approve_restore(facts: RestoreFacts) -> Result<(), String> {
        let age = facts
            .newest_created
            .map(|created| facts.now.saturating_sub(created));
        match age {
            Some(age) if facts.action == "restore-missing" && age > RESTORE_AGE_MAX => {
                Err(format!(
                    "the replica is {} days old; look whether it is the right one, and restore it by \
                 hand",
                    age / DAY
                ))
            }
            _ => Ok(()),
        }
    }

    fn on_event(event: Event) -> Vec<Alert> {
        rules::alerts(event)
    }
}

/// The last snapshot of each period that is young enough.
fn last_of_each(
    facts: &RetentionFacts,
    period: u64,
    kept_for: u64,
) -> impl Iterator<Item = &FileFacts> {
    let snapshots = || {
        facts
            .files
            .iter()
            .map(|held| &held.file)
            .filter(|it| it.level == rules::SNAPSHOT)
    };
    let is_last = move |file: &&FileFacts| {
        let mut same = snapshots().filter(|it| it.created / period == file.created / period);
        !same.any(|it| it.max_txid > file.max_txid)
    };
    let is_young = move |file: &&FileFacts| facts.now.saturating_sub(file.created) < kept_for;
    snapshots().filter(is_young).filter(is_last)
}

#[cfg(target_arch = "wasm32")]
export!(Guardian);

#[cfg(test)]
mod tests;
