//! A policy for lockkeeper. What it is asked, and what each answer means, stands in
//! `wit/policy.wit`; `rules.rs` has Litestream's rules, for whatever you do not decide yourself.
//!
//! Each call runs in an instance of its own: keep nothing between calls. Decide by the facts alone,
//! so that a decision can be replayed.

pub mod rules;

wit_bindgen::generate!({ path: "wit", world: "policy" });

use lockkeeper::policy::types::*;

/// How long snapshots are kept, beyond what the configuration promises.
const SNAPSHOTS_KEPT_MS: u64 = 0;

struct Policy;

impl Guest for Policy {
    fn metadata() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Litestream's rules, to begin with".into(),
            needs: Vec::new(),
        }
    }

    /// An empty list leaves configurations to the built-in policy.
    fn validate(_source: String, _context: Context) -> Result<Plan, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn plan_sync(facts: SyncFacts) -> SyncProposal {
        rules::sync(&facts)
    }

    fn plan_checkpoint(facts: CheckpointFacts) -> CheckpointProposal {
        rules::checkpoint(&facts)
    }

    fn plan_snapshot(facts: SnapshotFacts) -> Option<String> {
        rules::snapshot(&facts)
    }

    fn plan_verification(facts: VerificationFacts) -> Option<String> {
        rules::verification(&facts)
    }

    fn plan_compaction(facts: CompactionFacts) -> Vec<CompactionProposal> {
        rules::compaction(&facts)
    }

    fn plan_retention(facts: RetentionFacts) -> Vec<Keep> {
        let mut keeps = rules::retention(&facts);
        keeps.extend(facts.files.iter().filter(|held| keeps_snapshot(held, facts.now)).map(
            |held| Keep {
                level: held.file.level,
                min_txid: held.file.min_txid,
                max_txid: held.file.max_txid,
                reason: "is a snapshot that is kept longer".into(),
            },
        ));
        keeps
    }

    fn plan_holds(_facts: HoldFacts) -> Vec<Hold> {
        Vec::new()
    }

    fn approve_restore(_facts: RestoreFacts) -> Result<(), String> {
        Ok(())
    }

    fn on_event(event: Event) -> Vec<Alert> {
        rules::alerts(event)
    }
}

fn keeps_snapshot(held: &HeldFile, now: u64) -> bool {
    let age = now.saturating_sub(held.file.created);
    held.file.level == rules::SNAPSHOT && age < SNAPSHOTS_KEPT_MS
}

#[cfg(target_arch = "wasm32")]
export!(Policy);

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(created: u64) -> HeldFile {
        HeldFile {
            file: FileFacts {
                level: rules::SNAPSHOT,
                min_txid: 1,
                max_txid: 9,
                size_bytes: 4096,
                created,
            },
            needed: None,
        }
    }

    #[test]
    fn a_snapshot_goes_when_it_is_old_enough_and_not_before() {
        let keeps = |age| Policy::plan_retention(RetentionFacts {
            now: SNAPSHOTS_KEPT_MS + 10,
            snapshot_retention: 0,
            l0_retention: 1,
            files: vec![snapshot(SNAPSHOTS_KEPT_MS + 10 - age)],
        })
        .len();
        assert_eq!(keeps(SNAPSHOTS_KEPT_MS), 0);
        if let Some(younger) = SNAPSHOTS_KEPT_MS.checked_sub(1) {
            assert_eq!(keeps(younger), 1);
        }
    }
}
