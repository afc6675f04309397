use lockkeeper_ltx::{FileName, Txid, TxidRange};

use super::*;

const OLD: GenerationId = GenerationId(1);
const NEW: GenerationId = GenerationId(2);

fn snapshot(generation: GenerationId, index: u32, created_ms: i64) -> SnapshotFile {
    SnapshotFile {
        generation,
        index,
        size: 10,
        created_ms,
    }
}

fn segment(generation: GenerationId, index: u32, offset: u64, created_ms: i64) -> SegmentFile {
    SegmentFile {
        generation,
        index,
        offset,
        size: 1,
        created_ms,
    }
}

fn two_generations() -> Generations {
    Generations {
        snapshots: vec![
            snapshot(OLD, 0, 10),
            snapshot(NEW, 1, 40),
            snapshot(NEW, 0, 30),
        ],
        segments: vec![
            segment(OLD, 0, 100, 12),
            segment(OLD, 0, 0, 11),
            segment(OLD, 1, 0, 13),
            segment(NEW, 0, 0, 31),
            segment(NEW, 1, 0, 41),
            segment(NEW, 2, 0, 51),
            segment(NEW, 1, 4152, 42),
        ],
    }
}

#[track_caller]
fn check(target: Target, generation: GenerationId, index: u32, segments: &[(u32, u64)]) {
    let plan = plan(&two_generations(), target).unwrap();
    let found: Vec<_> = plan
        .segments()
        .iter()
        .map(|s| (s.index, s.offset))
        .collect();
    assert_eq!(found, segments);
    let snapshot = plan.snapshot();
    assert_eq!((snapshot.generation, snapshot.index), (generation, index));
    assert_eq!(plan.size(), 10 + segments.len() as u64);
}

#[test]
fn the_newest_snapshot_is_followed_by_the_logs_of_its_generation() {
    check(Target::Latest, NEW, 1, &[(1, 0), (1, 4152), (2, 0)]);
}

#[test]
fn time_is_an_inclusive_bound() {
    check(Target::Before(42), NEW, 1, &[(1, 0), (1, 4152)]);
    check(Target::Before(41), NEW, 1, &[(1, 0)]);
    check(Target::Before(40), NEW, 1, &[]);
    check(Target::Before(39), NEW, 0, &[(0, 0)]);
    check(Target::Before(29), OLD, 0, &[(0, 0), (0, 100), (1, 0)]);
    let before = plan(&two_generations(), Target::Before(9));
    assert_eq!(before, Err(GenerationPlanError::NoSnapshot));
}

#[test]
fn a_missing_log_or_start_is_an_error() {
    let mut generations = two_generations();
    generations.segments.retain(|s| s.index != 1);
    let missing = GenerationPlanError::MissingIndex {
        generation: NEW,
        expected: 1,
        found: 2,
    };
    assert_eq!(plan(&generations, Target::Latest), Err(missing));

    let mut generations = two_generations();
    generations
        .segments
        .retain(|s| (s.index, s.offset) != (1, 0));
    let missing = GenerationPlanError::MissingStart {
        generation: NEW,
        index: 1,
        offset: 4152,
    };
    assert_eq!(plan(&generations, Target::Latest), Err(missing));
}

#[test]
fn the_last_index_there_is_needs_no_next() {
    let generations = Generations {
        snapshots: vec![snapshot(NEW, u32::MAX, 1)],
        segments: vec![segment(NEW, u32::MAX, 0, 2), segment(NEW, u32::MAX, 9, 2)],
    };
    assert_eq!(
        plan(&generations, Target::Latest).unwrap().segments().len(),
        2
    );
}

#[test]
fn transactions_are_unknown_to_generations() {
    let target = Target::Txid(Txid::FIRST);
    assert_eq!(
        plan(&two_generations(), target),
        Err(GenerationPlanError::NoTxids)
    );
    assert!(!is_preferred(&two_generations(), &[], target));
}

#[test]
fn names_have_an_exact_form() {
    assert_eq!(SnapshotFile::parse_name("0000000a.snapshot.lz4"), Some(10));
    assert_eq!(
        SegmentFile::parse_name("0000000a_1ffffffff.wal.lz4"),
        Some((10, 0x1_ffff_ffff))
    );
    for name in ["0000000A.snapshot.lz4", "00000000a.snapshot.lz4", "0.lz4"] {
        assert_eq!(SnapshotFile::parse_name(name), None, "{name}");
    }
    for name in [
        "0000000a_0.wal.lz4",
        "0000000a-00000000.wal.lz4",
        "0000000a_00000000.wal",
        "0000000a_00000000000000000.wal.lz4",
        "+000000a_00000000.wal.lz4",
    ] {
        assert_eq!(SegmentFile::parse_name(name), None, "{name}");
    }
    assert_eq!(
        segment(OLD, 10, 4152, 0).key(),
        "generations/0000000000000001/wal/0000000a_00001038.wal.lz4"
    );
    assert_eq!(
        snapshot(NEW, 10, 0).key(),
        "generations/0000000000000002/snapshots/0000000a.snapshot.lz4"
    );
}

fn ltx(level: u8, max: u64, created_ms: i64) -> ReplicaFile {
    ReplicaFile {
        level: Level::new(level).unwrap(),
        name: FileName::new(TxidRange::new(Txid::FIRST, Txid::new(max).unwrap()).unwrap()),
        size: 200,
        created_ms,
    }
}

#[test]
fn what_holds_the_newer_data_is_restored() {
    let generations = two_generations();
    let none = Generations::default();
    for (generations, files, target, expected) in [
        (&generations, &[][..], Target::Latest, true),
        (&none, &[ltx(0, 1, 0)], Target::Latest, false),
        (&none, &[], Target::Latest, false),
        (&generations, &[ltx(0, 1, 50)], Target::Latest, true),
        (&generations, &[ltx(0, 1, 51)], Target::Latest, false),
        // With a time, the snapshots decide.
        (&generations, &[], Target::Before(5), true),
        (&generations, &[ltx(0, 1, 60)], Target::Before(35), true),
        (&generations, &[ltx(0, 1, 60)], Target::Before(9), false),
        (&generations, &[ltx(9, 1, 34)], Target::Before(35), false),
        (&generations, &[ltx(9, 1, 35)], Target::Before(35), true),
        (&generations, &[ltx(9, 1, 30)], Target::Before(35), false),
        (&generations, &[ltx(9, 1, 29)], Target::Before(35), true),
    ] {
        assert_eq!(
            is_preferred(generations, files, target),
            expected,
            "{files:?} {target:?}"
        );
    }
}
