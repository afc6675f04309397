//! *thrifty*: the fewest requests that the configured sync interval allows.
//!
//! Every commit waits for the whole interval, so that as many as possible share a file; a log is
//! copied back only when it is large, because each checkpoint costs an upload; and a level is
//! merged only when enough files wait.

#[path = "../../../../host/cli/templates/policy/src/rules.rs"]
pub mod rules;

wit_bindgen::generate!({ path: "../../../wit", world: "policy" });

use lockkeeper::policy::types::*;

/// Files that are worth a merge into a level above the first.
const WORTH_A_MERGE: usize = 6;

struct Thrifty;

impl Guest for Thrifty {
    fn metadata() -> Description {
        Description {
            name: "thrifty".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "the fewest requests within the sync interval".into(),
            needs: Vec::new(),
        }
    }

    fn validate(_source: String, _context: Context) -> Result<Plan, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    /// The oldest commit has waited for a while already.
    fn plan_sync(facts: SyncFacts) -> SyncProposal {
        SyncProposal {
            wait: facts.sync_interval.saturating_sub(facts.oldest_pending_age),
        }
    }

    /// By size alone.
    fn plan_checkpoint(facts: CheckpointFacts) -> CheckpointProposal {
        rules::checkpoint(&CheckpointFacts {
            checkpoint_interval: 0,
            ..facts
        })
    }

    fn plan_snapshot(facts: SnapshotFacts) -> Option<String> {
        rules::snapshot(&facts)
    }

    fn plan_verification(facts: VerificationFacts) -> Option<String> {
        rules::verification(&facts)
    }

    /// Level 1 is merged as ever, for single syncs do not last; the others wait for more.
    fn plan_compaction(facts: CompactionFacts) -> Vec<CompactionProposal> {
        let is_worth_it = |level: &LevelFacts| {
            level.level == 1 || level.ends_at_gap || level.waiting.len() >= WORTH_A_MERGE
        };
        rules::compaction(&CompactionFacts {
            levels: facts.levels.into_iter().filter(is_worth_it).collect(),
            ..facts
        })
    }

    fn plan_retention(facts: RetentionFacts) -> Vec<Keep> {
        rules::retention(&facts)
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

#[cfg(target_arch = "wasm32")]
export!(Thrifty);

#[cfg(test)]
mod tests;
