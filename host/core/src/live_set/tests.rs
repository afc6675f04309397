use super::Need::{Link, NewestChain, NewestOfLevel, Unmerged, WindowStart, Young};
use super::*;
use crate::inventory::testing::{file, inventory, txid};

const WINDOW: Window = Window {
    snapshot_retention_ms: 1000,
    l0_retention_ms: 100,
};

/// At 10,000 ms, so that the window starts at 9,000 and level 0 is young from 9,901 on. Needs are
/// those of the files in the order they are given.
#[track_caller]
fn check(files: &[(u8, u64, u64, u64)], needs: &[Option<Need>]) {
    let live = LiveSet::new(&inventory(files), &WINDOW, 10_000).unwrap();
    let found: Vec<_> = files.iter().map(|it| live.need(&file(*it))).collect();
    assert_eq!(found, needs);
}

#[test]
fn the_newest_snapshot_before_the_window_stays_and_what_ends_before_it_goes() {
    check(
        &[
            (9, 1, 10, 7_000),
            (9, 1, 20, 8_000),
            (9, 1, 30, 9_500),
            (1, 15, 19, 7_999),
            (1, 20, 24, 8_500),
            (1, 25, 30, 9_499),
            (0, 30, 30, 9_499),
        ],
        &[
            None,
            Some(WindowStart),
            Some(NewestChain),
            None,
            Some(Need::Window),
            Some(NewestOfLevel),
            Some(NewestOfLevel),
        ],
    );
}

#[test]
fn a_snapshot_past_the_first_point_in_the_window_does_not_start_it() {
    check(
        &[
            (9, 1, 10, 7_000),
            (9, 1, 20, 8_999),
            (1, 11, 19, 9_000),
            (1, 20, 25, 9_050),
        ],
        &[
            Some(WindowStart),
            Some(NewestChain),
            Some(Need::Window),
            Some(NewestChain),
        ],
    );
}

#[test]
fn a_snapshot_that_is_too_small_starts_nothing() {
    let mut files = [
        file((9, 1, 10, 7_000)),
        file((9, 1, 20, 8_000)),
        file((9, 1, 30, 9_500)),
    ];
    files[1].size = 99;
    let live = LiveSet::new(&Inventory::new(files.to_vec()), &WINDOW, 10_000).unwrap();
    assert_eq!(live.need(&files[0]), Some(WindowStart));
}

#[test]
fn an_idle_database_keeps_its_newest_snapshot_and_what_follows() {
    check(
        &[
            (9, 1, 10, 1_000),
            (9, 1, 20, 2_000),
            (1, 11, 20, 1_500),
            (1, 21, 22, 2_500),
            (0, 21, 21, 2_400),
            (0, 22, 22, 2_500),
        ],
        &[
            None,
            Some(NewestChain),
            Some(Need::Window),
            Some(NewestChain),
            None,
            Some(NewestOfLevel),
        ],
    );
}

#[test]
fn files_of_level_0_stay_while_they_are_young_or_level_1_has_not_taken_them() {
    check(
        &[
            (9, 1, 1, 8_000),
            (9, 1, 6, 9_950),
            (1, 2, 3, 9_500),
            (0, 2, 2, 9_400),
            (0, 3, 3, 9_500),
            (0, 4, 4, 9_600),
            (0, 5, 5, 9_901),
            (0, 6, 6, 9_902),
        ],
        &[
            Some(WindowStart),
            Some(NewestChain),
            Some(NewestOfLevel),
            None,
            None,
            Some(Unmerged),
            Some(Young),
            Some(NewestOfLevel),
        ],
    );
}

#[test]
fn an_old_file_of_level_0_stays_while_a_young_one_cannot_be_restored_without_it() {
    check(
        &[
            (9, 1, 1, 9_100),
            (1, 2, 3, 9_500),
            (1, 4, 6, 9_960),
            (0, 3, 3, 9_500),
            (0, 4, 4, 9_900),
            (0, 5, 5, 9_901),
            (0, 6, 6, 9_960),
        ],
        &[
            Some(NewestChain),
            Some(NewestChain),
            Some(NewestChain),
            None,
            Some(Link),
            Some(Young),
            Some(NewestOfLevel),
        ],
    );
}

#[test]
fn the_first_transaction_stays_while_points_before_the_first_snapshot_need_it() {
    let files = [
        (0, 1, 1, 9_100),
        (1, 2, 3, 9_200),
        (9, 1, 5, 9_300),
        (1, 4, 6, 9_400),
        (0, 6, 6, 9_400),
    ];
    let newest = [Some(NewestChain), Some(NewestChain), Some(NewestOfLevel)];
    check(
        &files,
        &[&[Some(Link), Some(Need::Window)], &newest[..]].concat(),
    );
    // Once the window starts at the snapshot, neither is needed.
    let late = LiveSet::new(&inventory(&files), &WINDOW, 10_301).unwrap();
    assert_eq!(late.need(&file(files[0])), None);
    assert_eq!(late.need(&file(files[1])), None);
}

#[test]
fn level_0_is_all_there_is_without_compaction_and_stays_for_the_window() {
    check(
        &[
            (9, 1, 2, 8_000),
            (0, 2, 2, 8_000),
            (0, 3, 3, 8_500),
            (0, 4, 4, 9_500),
            (9, 1, 5, 9_600),
            (0, 5, 5, 9_600),
        ],
        &[
            Some(WindowStart),
            None,
            Some(Unmerged),
            Some(Unmerged),
            Some(NewestChain),
            Some(NewestOfLevel),
        ],
    );
}

#[test]
fn l0_retention_of_zero_keeps_level_0_forever() {
    let files = inventory(&[(9, 1, 9, 8_000), (0, 2, 2, 1), (0, 9, 9, 8_000)]);
    let window = Window {
        l0_retention_ms: 0,
        ..WINDOW
    };
    let live = LiveSet::new(&files, &window, 10_000).unwrap();
    assert_eq!(live.need(&file((0, 2, 2, 1))), Some(Young));
}

#[test]
fn nothing_is_said_about_a_replica_that_does_not_restore() {
    let gap = inventory(&[(9, 1, 1, 0), (0, 3, 3, 0)]);
    let gap = LiveSet::new(&gap, &WINDOW, 10_000);
    assert_eq!(
        gap,
        Err(PlanError::Gap {
            have: txid(1),
            next: txid(3),
        })
    );
}

#[test]
fn each_need_has_a_code_of_its_own() {
    let codes: std::collections::BTreeSet<_> = Need::ALL.into_iter().map(Need::code).collect();
    let reasons: std::collections::BTreeSet<_> = Need::ALL.into_iter().map(Need::reason).collect();
    assert_eq!(
        (codes.len(), reasons.len()),
        (Need::ALL.len(), Need::ALL.len())
    );
}
