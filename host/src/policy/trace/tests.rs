use std::fs;
use std::path::Path;

use lockkeeper_core::inventory::ReplicaFile;
use lockkeeper_core::live_set::Need;
use lockkeeper_core::policy::{Event, HeldFile, RetentionFacts, Severity, SyncFacts, SyncProposal};
use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};

use super::ring::segments;
use super::*;

fn record(at: u64, facts: Facts) -> Record {
    Record {
        at,
        database: "app.db".into(),
        policy: "d".repeat(64),
        answer: Answer::of(&facts.fallback()),
        facts,
        clamps: vec![("window".into(), 2)],
        outcome: "seal now".into(),
    }
}

fn sync(at: u64) -> Record {
    let facts = SyncFacts {
        now_ms: at,
        ..SyncFacts::default()
    };
    record(at, Facts::Sync(facts))
}

/// Files of level 0 with these transactions.
fn retention(at: u64, txids: std::ops::Range<u64>, need: Option<Need>) -> Record {
    let file = |number| {
        let txid = Txid::new(number)?;
        let file = ReplicaFile {
            level: Level::L0,
            name: FileName::new(TxidRange::new(txid, txid)?),
            size: 100 + number,
            created_ms: 5,
        };
        Some(HeldFile { file, need })
    };
    let facts = RetentionFacts {
        now_ms: at,
        files: txids.filter_map(file).collect(),
        ..RetentionFacts::default()
    };
    record(at, Facts::Retention(facts))
}

fn ring(folder: &Path) -> Ring {
    Ring::open(&TraceSettings::new(folder)).unwrap()
}

fn block(records: &[Record]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for record in records {
        assert!(encoder.add(record.clone()));
    }
    let (block, count) = encoder.block().unwrap();
    assert_eq!(count, records.len() as u64);
    block
}

fn read(path: &Path) -> Vec<Record> {
    TraceReader::open(path).unwrap().collect()
}

#[test]
fn what_is_recorded_comes_back_over_blocks_and_processes() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![
        sync(1),
        retention(2, 1..50, Some(Need::Window)),
        retention(3, 7..60, Some(Need::Window)),
        retention(4, 7..60, None),
        retention(5, 9..9, None),
    ];
    ring(dir.path()).append(&block(&all[..2])).unwrap();
    ring(dir.path()).append(&block(&all[2..])).unwrap();
    assert_eq!(segments(dir.path()).unwrap().len(), 2);
    assert_eq!(read(dir.path()), all);
}

#[test]
fn a_list_that_changed_little_takes_little_room() {
    let first: Vec<_> = vec![retention(1, 1..3000, None)];
    let grown: Vec<_> = (1..20).map(|n| retention(n, 1..3000 + n, None)).collect();
    let (one, many) = (block(&first).len(), block(&grown).len());
    assert!(many < one * 2, "{one} bytes, then {many}");
}

#[test]
fn a_trace_that_was_cut_at_any_byte_reads_as_far_as_it_is_whole_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = [vec![sync(1), sync(2)], vec![retention(3, 1..9, None)]];
    let mut written = ring(dir.path());
    let mut ends = vec![MAGIC_LEN];
    for records in &blocks {
        let bytes = block(records);
        written.append(&bytes).unwrap();
        ends.push(ends.last().unwrap() + bytes.len());
    }
    let path = segments(dir.path()).unwrap().remove(0).1;
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        let cut = tempfile::tempdir().unwrap();
        fs::write(cut.path().join("0000000000000001.trace"), &whole[..length]).unwrap();
        ring(cut.path()).append(&block(&[sync(9)])).unwrap();
        let is_whole = |(_, end): &(&Vec<Record>, &usize)| **end <= length;
        let mut expected: Vec<Record> = blocks
            .iter()
            .zip(&ends[1..])
            .filter(is_whole)
            .flat_map(|(records, _)| records.clone())
            .collect();
        expected.push(sync(9));
        assert_eq!(read(cut.path()), expected, "{length} bytes");
    }
}

const MAGIC_LEN: usize = 8;

#[test]
fn damage_ends_a_segment_and_is_never_read_as_a_decision() {
    let dir = tempfile::tempdir().unwrap();
    ring(dir.path()).append(&block(&[sync(1)])).unwrap();
    let path = segments(dir.path()).unwrap().remove(0).1;
    let whole = fs::read(&path).unwrap();
    for at in MAGIC_LEN..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        let found = read(dir.path());
        assert_eq!(found, [], "byte {at}");
    }
}

#[test]
fn the_oldest_segments_go_and_the_bound_holds() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TraceSettings {
        bytes_max: 1 << 20,
        ..TraceSettings::new(dir.path())
    };
    let mut ring = Ring::open(&settings).unwrap();
    // Random numbers do not compress.
    let noise: Vec<u8> = (0..20_000).map(|_| rand::random()).collect();
    for _ in 0..200 {
        ring.append(&noise).unwrap();
        let all = segments(dir.path()).unwrap();
        let bytes: u64 = all
            .iter()
            .map(|(_, path)| path.metadata().unwrap().len())
            .sum();
        assert!(bytes <= settings.bytes_max, "{bytes}");
    }
    let all = segments(dir.path()).unwrap();
    assert!(all.len() > 10 && all[0].0 > 1, "{all:?}");
}

#[test]
fn the_same_proposal_has_the_same_hash_and_another_one_has_not() {
    let wait = |wait_ms| Proposal::Sync(SyncProposal { wait_ms });
    assert_eq!(hash(&wait(7)), hash(&wait(7)));
    assert_ne!(hash(&wait(7)), hash(&wait(8)));
    // Of a known text, so that traces of other machines and versions can be compared.
    assert_eq!(hash(&wait(7)), "a18a963c0450a222d4f6c5a322db059d");
}

#[track_caller]
fn is_refused(path: &Path, because: &str) {
    let error = TraceReader::open(path).unwrap_err().to_string();
    assert!(error.contains(because), "{error}");
}

#[test]
fn what_is_no_trace_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    is_refused(dir.path(), "is no trace of decisions");
    is_refused(&dir.path().join("absent"), "cannot read the trace");
    fs::write(dir.path().join("0000000000000001.trace"), "something else").unwrap();
    is_refused(dir.path(), "is no trace of decisions");
}

#[test]
fn a_trace_of_a_later_version_is_refused_and_the_versions_are_named() {
    let dir = tempfile::tempdir().unwrap();
    ring(dir.path()).append(&block(&[sync(1)])).unwrap();
    fs::write(
        dir.path().join("0000000000000002.trace"),
        "LKTRACE\x03 more",
    )
    .unwrap();
    is_refused(
        dir.path(),
        "0000000000000002.trace has version 3 of its format",
    );
    is_refused(dir.path(), "versions 1 to 2 are read here");
}

/// Written by an earlier version of lockkeeper, about a database that got a commit each tenth of a
/// second.
const VERSION_1: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/policy/trace/data/version-1.trace"
);

#[test]
fn a_trace_of_the_first_version_is_read() {
    let records = read(Path::new(VERSION_1));
    let count = |name| {
        let of_kind = |record: &&Record| record.facts.name() == name;
        records.iter().filter(of_kind).count()
    };
    assert_eq!(records.len(), 58);
    assert_eq!((count("plan-sync"), count("plan-holds")), (22, 4));
    let is_of_the_application = |record: &Record| record.database == "/srv/app/app.db";
    assert!(records.iter().all(is_of_the_application));
    let Facts::Sync(first) = &records[0].facts else {
        panic!("{:?}", records[0])
    };
    assert_eq!((first.sync_interval_ms, first.spooled), (200, 0));
}

#[test]
fn an_event_and_what_people_are_told_of_it_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let event = Event {
        now_ms: 7,
        database: "app.db".into(),
        code: "log-held".into(),
        begins: true,
        severity: Severity::Error,
        message: "a reader".into(),
        count: 2,
        previous_ms: Some(3),
    };
    let told = record(7, Facts::Event(event));
    ring(dir.path())
        .append(&block(std::slice::from_ref(&told)))
        .unwrap();
    assert_eq!(read(dir.path()), [told]);
}
