use std::collections::BTreeSet;

use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use super::load::Load;
use super::recorded::Recorded;
use super::*;
use crate::compaction;
use crate::inventory::{Inventory, ReplicaFile};
use crate::levels::Levels;
use crate::policy::{CheckpointProposal, SyncFacts, SyncProposal};

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
            Facts::Holds(_) | Facts::Restore(_) | Facts::Event(_) => facts.fallback(),
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
    let load = Load { seed: 6, days: 1 };
    let made: Vec<Commit> = load.commits().collect();
    let commits = recorded.commits();
    // Those that came together are told apart as far as questions came between.
    let count = commits.len() as u64;
    assert!(
        (first.seals..=first.commits).contains(&count),
        "{count} {first:?}"
    );
    assert!(first.seals < first.commits && first.checkpoints > 0);
    let times: BTreeSet<u64> = commits.iter().map(|commit| commit.at_ms).collect();
    let is_known = |commit: &&Commit| times.contains(&commit.at_ms);
    let known = made.iter().filter(is_known).count() as u64;
    assert!(known >= first.seals, "{known} {}", first.seals);
    // The first file has the database, which nobody committed.
    let bytes = |commits: &[Commit]| -> u64 {
        let is_later = |commit: &&Commit| commit.at_ms > made[0].at_ms + 60_000;
        let later = commits.iter().filter(is_later);
        later.map(|commit| commit.bytes).sum()
    };
    let (found, expected) = (bytes(&commits), bytes(&made));
    assert!(
        found.abs_diff(expected) < expected / 10,
        "{found} {expected}"
    );
    let again = run(
        recorded.settings(),
        commits.into_iter(),
        &recorded.outages(),
        recorded.end_ms(),
        &mut defaults,
    );
    assert_eq!(again.unrestorable, 0);
    // The same policy does the same again, but for what the first file takes.
    assert_eq!(
        (again.seals, again.checkpoints),
        (first.seals, first.checkpoints)
    );
    assert_eq!(again.snapshots, first.snapshots);
    let (found, expected) = (again.rpo_worst_ms, first.rpo_worst_ms);
    assert!(
        found.abs_diff(expected) < expected / 10,
        "{found} {expected}"
    );
}

#[test]
fn what_was_decided_shows_when_the_store_was_away() {
    let mut recorded = Recorded::default();
    let outages = Load { seed: 3, days: 3 }.outages();
    assert!(!outages.is_empty());
    simulate(3, 3, &mut |facts| {
        recorded.add(facts);
        defaults(facts)
    });
    let found = recorded.outages();
    assert_eq!(found.len(), outages.len(), "{found:?} {outages:?}");
    for (found, real) in found.iter().zip(&outages) {
        // It shows with the first commit whose upload was tried twice.
        assert!(
            (real.from_ms..real.to_ms).contains(&found.from_ms),
            "{found:?} {real:?}"
        );
        let late = found.to_ms.abs_diff(real.to_ms);
        assert!(late < 120_000, "{found:?} {real:?}");
    }
}

#[test]
fn a_file_that_somebody_waited_for_is_a_commit_and_what_follows_a_seal_is_none() {
    let file = |txid, created_ms, size| ReplicaFile {
        level: Level::L0,
        name: FileName::new(TxidRange::new(txid, txid).unwrap()),
        size,
        created_ms,
    };
    let txid = |n| Txid::new(n).unwrap();
    let mut recorded = Recorded::default();
    for (now_ms, pending_bytes, oldest_pending_age_ms) in
        [(100, 1000, 40), (150, 1000, 90), (200, 4000, 140)]
    {
        recorded.add(&Facts::Sync(SyncFacts {
            now_ms,
            pending_bytes,
            oldest_pending_age_ms,
            ..SyncFacts::default()
        }));
    }
    let files = Inventory::new(vec![
        file(txid(1), 201, 20_000),
        file(txid(2), 202, 10),
        file(txid(3), 203, 20_000),
        file(txid(4), 400, 70),
        file(txid(5), 405, 80),
    ]);
    let levels = Levels::new(&[1_000]).unwrap();
    recorded.add(&Facts::Compaction(compaction::facts(
        &files, &levels, 3_000,
    )));
    let commits: Vec<_> = recorded
        .commits()
        .iter()
        .map(|it| (it.at_ms, it.bytes))
        .collect();
    assert_eq!(commits, [(60, 10_000), (200, 30_000), (400, 70), (405, 80)]);
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
