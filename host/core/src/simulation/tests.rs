use super::load::Load;
use super::recorded::Recorded;
use super::*;
use crate::policy::{CheckpointProposal, SyncProposal};

fn simulate(seed: u64, days: u32, policy: &mut Policy<'_>) -> Report {
    let load = Load { seed, days };
    let outages = load.outages();
    run(
        &Settings::default(),
        load.commits(),
        &outages,
        load.end_ms(),
        policy,
    )
}

fn defaults(facts: &Facts) -> Option<Proposal> {
    Some(facts.fallback())
}

#[test]
fn the_same_seed_gives_the_same_report_and_another_one_does_not() {
    let first = simulate(1, 2, &mut defaults);
    assert_eq!(simulate(1, 2, &mut defaults), first);
    assert_ne!(simulate(2, 2, &mut defaults), first);
}

#[test]
fn the_built_in_rules_keep_every_promise_and_are_never_changed() {
    let report = simulate(3, 3, &mut defaults);
    assert_eq!(report.unrestorable, 0);
    assert_eq!(report.clamps.into_iter().collect::<Vec<_>>(), []);
    assert_eq!((report.failures, report.snapshots), (0, 3));
    assert!(report.window_ms >= 24 * 3_600_000, "{}", report.window_ms);
    // The outage is an hour, and its first commit comes soon. Without it, a commit waits for an
    // interval and its upload.
    assert!(report.rpo_worst_ms >= 3_500_000, "{}", report.rpo_worst_ms);
    assert!(
        report.rpo_worst_online_ms < 30_000,
        "{}",
        report.rpo_worst_online_ms
    );
    assert!(report.deletions > 1000 && report.merges > 1000);
    assert_eq!(report.stored_bytes.len(), 2, "the third day has not ended");
}

#[test]
fn a_policy_that_wants_to_lose_everything_loses_nothing() {
    let report = simulate(4, 3, &mut |facts| {
        Some(match facts {
            Facts::Sync(_) => Proposal::Sync(SyncProposal { wait_ms: u64::MAX }),
            Facts::Checkpoint(_) => Proposal::Checkpoint(CheckpointProposal::None),
            Facts::Snapshot(_) => Proposal::Snapshot(None),
            Facts::Verification(_) => Proposal::Verification(None),
            Facts::Compaction(_) => Proposal::Compaction(Vec::new()),
            Facts::Retention(_) => Proposal::Retention(Some(Vec::new())),
            Facts::Holds(_) | Facts::Restore(_) => facts.fallback(),
        })
    });
    assert_eq!(report.unrestorable, 0);
    assert_eq!(report.snapshots, 1, "the first one is needed");
    for code in ["sync-too-late", "snapshot-missing", "newest-chain"] {
        assert!(
            report.clamps.contains_key(code),
            "{code}: {:?}",
            report.clamps
        );
    }
}

#[test]
fn fewer_seals_cost_fewer_requests_and_no_answer_is_the_built_in_rule() {
    let often = simulate(5, 1, &mut |facts| match facts {
        Facts::Sync(_) => Some(Proposal::Sync(SyncProposal { wait_ms: 0 })),
        _ => None,
    });
    let seldom = simulate(5, 1, &mut |facts| match facts {
        Facts::Sync(facts) => Some(Proposal::Sync(SyncProposal {
            wait_ms: facts.sync_interval_ms - facts.oldest_pending_age_ms,
        })),
        _ => None,
    });
    assert!(
        seldom.seals < often.seals,
        "{} {}",
        seldom.seals,
        often.seals
    );
    assert!(seldom.requests.puts < often.requests.puts);
    let prices = Prices::default();
    assert!(seldom.cost(&prices) < often.cost(&prices));
    assert!(often.failures > 0);
}

#[test]
fn what_was_decided_shows_the_load_it_was_decided_about() {
    let mut recorded = Recorded::default();
    let first = simulate(6, 1, &mut |facts| {
        recorded.add(facts);
        defaults(facts)
    });
    assert_eq!(recorded.settings().window, Settings::default().window);
    let commits = recorded.commits();
    // One for each file that was sealed, but those that waited for nobody yet at the end.
    let files = (first.seals + first.checkpoints) as usize;
    assert!(
        commits.len() + 5 > files && commits.len() <= files,
        "{} {files}",
        commits.len()
    );
    let again = run(
        recorded.settings(),
        commits.into_iter(),
        &[],
        recorded.end_ms(),
        &mut defaults,
    );
    assert_eq!(again.unrestorable, 0);
}

#[test]
fn storage_is_paid_by_the_month_and_requests_by_the_piece() {
    let report = Report {
        requests: Requests {
            puts: 1000,
            gets: 1000,
            lists: 1000,
            deletes: 1000,
        },
        stored_byte_hours: 730 * 1_000_000_000,
        ..Report::default()
    };
    // $0.005 twice, $0.0004, and $0.023.
    assert_eq!(report.cost(&Prices::default()), 33_400_000);
}

#[test]
fn nothing_that_happens_costs_nothing() {
    let report = run(
        &Settings::default(),
        std::iter::empty(),
        &[],
        1,
        &mut defaults,
    );
    assert_eq!(report, Report::default());
}
