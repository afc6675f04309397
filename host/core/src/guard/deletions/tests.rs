use super::*;
use crate::inventory::testing::{file, inventory, level, range};

const FILES: [(u8, u64, u64, u64); 5] = [
    (9, 1, 10, 1_000),
    (9, 1, 20, 2_000),
    (9, 1, 30, 3_000),
    (1, 11, 20, 1_900),
    (0, 30, 30, 2_999),
];

fn situation(inventory: &Inventory, now_ms: u64) -> Situation<'_> {
    Situation {
        inventory,
        now_ms,
        window: Window {
            snapshot_retention_ms: 500,
            l0_retention_ms: 100,
        },
        enabled: true,
        verification_failed: false,
    }
}

fn keep((n, min, max): (u8, u64, u64)) -> Keep {
    Keep {
        level: level(n),
        range: range(min, max),
        reason: String::new(),
    }
}

#[track_caller]
fn check(keeps: &[(u8, u64, u64)], deleted: &[(u8, u64, u64, u64)], refused: &[(Need, usize)]) {
    let inventory = inventory(&FILES);
    let review = Review::new(situation(&inventory, 3_100)).unwrap();
    let keeps: Vec<_> = keeps.iter().copied().map(keep).collect();
    let found = review.decide(&keeps);
    let deleted: Vec<_> = deleted.iter().copied().map(file).collect();
    assert_eq!(found.files, deleted);
    assert_eq!(found.refused, refused.iter().copied().collect());
    assert_eq!(found.postponed, 0);
}

#[test]
fn what_no_keep_names_goes_unless_it_is_needed() {
    let old = (9, 1, 10, 1_000);
    let refused = [
        (Need::NewestChain, 1),
        (Need::NewestOfLevel, 2),
        (Need::WindowStart, 1),
    ];
    check(&[], &[old], &refused);
    // A snapshot is named by its end: they all begin alike.
    check(&[(9, 1, 10)], &[], &refused);
    check(
        &[(9, 1, 30)],
        &[old],
        &[(Need::NewestOfLevel, 2), refused[2]],
    );
    check(&[(1, 1, 99), (0, 1, 99)], &[old], &[refused[0], refused[2]]);
}

#[test]
fn a_keep_names_every_file_of_its_level_that_it_touches() {
    let names = |keeps: &[(u8, u64, u64)], it| {
        Kept::new(&keeps.iter().copied().map(keep).collect::<Vec<_>>()).names(&file(it))
    };
    assert!(names(&[(1, 9, 11)], (1, 11, 20, 0)));
    assert!(names(&[(1, 20, 20)], (1, 11, 20, 0)));
    assert!(!names(&[(1, 1, 10), (1, 21, 30)], (1, 11, 20, 0)));
    assert!(!names(&[(2, 11, 20)], (1, 11, 20, 0)));
    assert!(names(&[(1, 30, 31), (1, 1, 15), (1, 2, 3)], (1, 11, 20, 0)));
    assert!(!names(&[], (1, 11, 20, 0)));
}

#[test]
fn deletions_are_bounded_and_the_oldest_go_first() {
    let many = DELETIONS_MAX as u64 + 9;
    let mut files: Vec<_> = (1..=many).map(|n| (0, n, n, 1)).collect();
    files.push((9, 1, many, 3_000));
    files.push((1, 2, many, 1));
    let inventory = inventory(&files);
    let found = Review::new(situation(&inventory, 3_600))
        .unwrap()
        .decide(&[]);
    assert_eq!(found.files.len(), DELETIONS_MAX);
    assert_eq!(found.files.first(), Some(&file((0, 1, 1, 1))));
    assert_eq!(found.postponed, 8, "the newest file of level 0 stays");
}

#[track_caller]
fn check_pause(change: impl Fn(&mut Situation<'_>), code: Option<&str>) {
    let inventory = inventory(&FILES);
    let mut situation = situation(&inventory, 3_100);
    change(&mut situation);
    let pause = Review::new(situation).err();
    assert_eq!(pause.as_ref().map(Pause::code), code, "{pause:?}");
}

#[test]
fn nothing_is_deleted_while_retention_is_off_or_the_last_verification_failed() {
    check_pause(|_| {}, None);
    check_pause(|it| it.enabled = false, Some("disabled"));
    check_pause(
        |it| it.verification_failed = true,
        Some("verification-failed"),
    );
}

#[test]
fn nothing_is_deleted_while_the_clock_is_implausible() {
    check_pause(|it| it.now_ms = 4_000, None);
    check_pause(|it| it.now_ms = 4_001, Some("clock-ahead"));
    check_pause(|it| it.now_ms = 0, None);
    let newest = 3_000 + CLOCK_BEHIND_MAX_MS;
    for (now_ms, code) in [(3_000, None), (2_999, Some("clock-behind"))] {
        let ahead = inventory(&[(9, 1, 1, newest)]);
        let pause = Review::new(situation(&ahead, now_ms)).err();
        assert_eq!(pause.as_ref().map(Pause::code), code);
    }
}

#[test]
fn nothing_is_deleted_while_files_are_missing() {
    let gap = inventory(&[(9, 1, 1, 0), (0, 3, 3, 0)]);
    let pause = Review::new(situation(&gap, 1)).unwrap_err();
    assert_eq!(pause.code(), "unrestorable");
    let empty = Inventory::default();
    assert!(Review::new(situation(&empty, 1)).is_err());
}
