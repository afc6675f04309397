use proptest::prelude::*;

use super::*;

fn txid(n: u64) -> Txid {
    Txid::new(n).unwrap()
}

fn file(level: u8, min: u64, max: u64, created_ms: i64) -> ReplicaFile {
    ReplicaFile {
        level: Level::new(level).unwrap(),
        name: FileName::new(TxidRange::new(txid(min), txid(max)).unwrap()),
        size: 200,
        created_ms,
    }
}

/// Files as `(level, min, max)`, created at the time of their last transaction.
fn files(specs: &[(u8, u64, u64)]) -> Vec<ReplicaFile> {
    specs
        .iter()
        .map(|&(level, min, max)| file(level, min, max, max.cast_signed()))
        .collect()
}

#[track_caller]
fn check(specs: &[(u8, u64, u64)], target: Target, expected: Result<&[(u8, u64, u64)], PlanError>) {
    let found = plan(&files(specs), target).map(|plan| plan.files);
    assert_eq!(found, expected.map(files));
}

#[test]
fn the_newest_snapshot_is_followed_by_the_file_that_leads_furthest() {
    let all = [
        (9, 1, 3),
        (9, 1, 5),
        (1, 4, 7),
        (0, 6, 6),
        (0, 7, 7),
        (0, 8, 8),
    ];
    check(&all, Target::Latest, Ok(&[(9, 1, 5), (1, 4, 7), (0, 8, 8)]));
    check(&all, Target::Txid(txid(6)), Ok(&[(9, 1, 5), (0, 6, 6)]));
    check(&all, Target::Txid(txid(5)), Ok(&[(9, 1, 5)]));
}

#[track_caller]
fn check_window(specs: &[(u8, u64, u64)], expected: Option<[(u8, u64, u64); 2]>) {
    let found = window(&files(specs)).map(|(oldest, newest)| vec![oldest, newest]);
    assert_eq!(found, expected.map(|ends| files(&ends)));
}

#[test]
fn the_window_goes_from_the_oldest_start_to_the_end_of_what_is_reached() {
    check_window(&[], None);
    check_window(&[(0, 2, 2)], None);
    check_window(&[(0, 1, 1)], Some([(0, 1, 1), (0, 1, 1)]));
    let all = [(9, 1, 7), (9, 1, 4), (1, 5, 8), (0, 9, 9)];
    check_window(&all, Some([(9, 1, 4), (0, 9, 9)]));
    // What comes after a hole is not reached.
    let hole = [(9, 1, 4), (0, 5, 5), (0, 7, 7)];
    check_window(&hole, Some([(9, 1, 4), (0, 5, 5)]));
}

#[test]
fn both_ends_of_the_window_are_restored() {
    let all = files(&[(9, 1, 7), (9, 1, 4), (1, 5, 8), (0, 10, 10)]);
    let (oldest, newest) = window(&all).unwrap();
    for end in [oldest, newest] {
        let planned = plan(&all, Target::Txid(end.range().max())).unwrap();
        assert_eq!(planned.files().last(), Some(&end));
    }
}

#[test]
fn a_file_from_the_first_transaction_is_a_start_at_any_level() {
    check(
        &[(0, 1, 1), (0, 2, 2)],
        Target::Latest,
        Ok(&[(0, 1, 1), (0, 2, 2)]),
    );
    check(
        &[(0, 1, 1), (2, 1, 4), (0, 5, 5)],
        Target::Latest,
        Ok(&[(2, 1, 4), (0, 5, 5)]),
    );
}

#[test]
fn of_two_files_with_one_end_the_longer_one_the_higher_level_and_the_older_is_read() {
    check(
        &[(9, 1, 1), (0, 3, 3), (1, 2, 3), (2, 2, 3)],
        Target::Latest,
        Ok(&[(9, 1, 1), (2, 2, 3)]),
    );
    let same = [file(9, 1, 1, 0), file(1, 2, 3, 9), file(1, 2, 3, 8)];
    assert_eq!(
        plan(&same, Target::Latest).unwrap().files()[1].created_ms,
        8
    );
}

#[test]
fn time_is_a_strict_bound() {
    let all = [(9, 1, 3), (0, 4, 4), (0, 5, 5)];
    check(&all, Target::Before(5), Ok(&[(9, 1, 3), (0, 4, 4)]));
    check(&all, Target::Before(4), Ok(&[(9, 1, 3)]));
    check(&all, Target::Before(3), Err(PlanError::Empty));
}

#[test]
fn a_gap_is_an_error_and_never_an_older_database() {
    let all = [(9, 1, 2), (0, 3, 3), (0, 5, 5), (0, 7, 7)];
    let gap = PlanError::Gap {
        have: txid(3),
        next: txid(5),
    };
    assert_eq!(
        gap.to_string(),
        "non-contiguous ltx files: have up to 0000000000000003 but next file starts at \
         0000000000000005"
    );
    check(&all, Target::Latest, Err(gap));
    check(&all, Target::Txid(txid(3)), Ok(&[(9, 1, 2), (0, 3, 3)]));
    assert_eq!(
        plan(&files(&all), Target::Before(6)).unwrap().unreachable(),
        Some(txid(5))
    );
    check(
        &[(9, 1, 2), (9, 2, 4)],
        Target::Latest,
        Err(PlanError::Gap {
            have: txid(2),
            next: txid(2),
        }),
    );
}

#[test]
fn only_a_transaction_that_ends_a_file_can_be_restored() {
    let missing = |wanted, have| PlanError::NoSuchTxid {
        wanted: txid(wanted),
        have: txid(have),
    };
    check(
        &[(9, 1, 2), (1, 3, 5)],
        Target::Txid(txid(4)),
        Err(missing(4, 2)),
    );
    check(&[(9, 1, 2)], Target::Txid(txid(3)), Err(missing(3, 2)));
    check(&[(9, 1, 2)], Target::Txid(txid(1)), Err(PlanError::Empty));
}

#[test]
fn nothing_starts_without_a_snapshot() {
    check(&[], Target::Latest, Err(PlanError::Empty));
    check(
        &[(0, 2, 2)],
        Target::Latest,
        Err(PlanError::NoSnapshot { next: txid(2) }),
    );
}

#[test]
fn a_file_smaller_than_a_header_is_refused() {
    let mut all = files(&[(9, 1, 1)]);
    all[0].size = 99;
    let error = plan(&all, Target::Latest).unwrap_err().to_string();
    assert!(error.contains("99 bytes (minimum 100)"), "{error}");
}

#[test]
fn the_last_transaction_id_ends_the_plan() {
    check(
        &[(9, 1, 2), (1, 3, u64::MAX)],
        Target::Latest,
        Ok(&[(9, 1, 2), (1, 3, u64::MAX)]),
    );
}

/// The rules of the format, written as slowly as they are told.
fn naive(all: &[ReplicaFile], target: Target) -> Vec<ReplicaFile> {
    let admitted: Vec<_> = all.iter().copied().filter(|f| target.admits(f)).collect();
    let mut chain: Vec<ReplicaFile> = Vec::new();
    let snapshots = admitted.iter().filter(|f| f.level == Level::SNAPSHOT);
    chain.extend(snapshots.max_by_key(|f| f.name.range().max()));
    loop {
        let reached = chain.last().map_or(0, |f| f.name.range().max().get());
        let continues = |f: &&ReplicaFile| {
            let range = f.name.range();
            f.level != Level::SNAPSHOT
                && range.min().get() <= reached + 1
                && range.max().get() > reached
        };
        let Some(next) = admitted
            .iter()
            .filter(continues)
            .max_by_key(|f| preference(f))
        else {
            return chain;
        };
        chain.push(*next);
    }
}

fn any_file() -> impl Strategy<Value = ReplicaFile> {
    (0u8..=9, 1u64..12, 0u64..5, 0i64..12).prop_map(|(level, min, more, created_ms)| {
        let min = if level == 9 { 1 } else { min };
        file(level, min, min + more, created_ms)
    })
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Latest),
        (1u64..16).prop_map(|n| Target::Txid(txid(n))),
        (0i64..14).prop_map(Target::Before),
    ]
}

proptest! {
    #[test]
    fn a_plan_starts_with_a_snapshot_and_has_no_gap(
        all in prop::collection::vec(any_file(), 0..20),
        target in any_target(),
    ) {
        let naive = naive(&all, target);
        let plan = match plan(&all, target) {
            Ok(plan) => plan,
            Err(PlanError::Gap { have, next }) => {
                prop_assert_eq!(target, Target::Latest);
                prop_assert!(next > have);
                return Ok(());
            }
            Err(PlanError::NoSuchTxid { wanted, have }) => {
                prop_assert_eq!(naive.last().unwrap().name.range().max(), have);
                prop_assert!(have < wanted);
                return Ok(());
            }
            Err(_) => {
                prop_assert!(naive.is_empty());
                return Ok(());
            }
        };
        prop_assert_eq!(plan.files(), &naive[..]);
        prop_assert!(plan.files()[0].name.range().is_snapshot());
        for pair in plan.files().windows(2) {
            let (a, b) = (pair[0].name.range(), pair[1].name.range());
            prop_assert!(b.min() <= a.max().next().unwrap() && b.max() > a.max());
        }
        prop_assert_eq!(plan.txid(), plan.files().last().unwrap().name.range().max());
        if target == Target::Latest {
            prop_assert!(all.iter().all(|file| file.name.range().max() <= plan.txid()));
        }
    }
}
