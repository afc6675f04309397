use super::*;

fn sync(oldest_pending_age: u64) -> u64 {
    let facts = SyncFacts {
        now: 0,
        marks: Watermarks {
            committed: 3,
            spooled: 2,
            durable: 2,
        },
        pending_bytes: 4096,
        unsent_transactions: 0,
        oldest_pending_age,
        since_last_sync: Some(60_000),
        last_put_latency: None,
        consecutive_failures: 0,
        sync_interval: 1000,
        budget_left: 500,
    };
    Thrifty::plan_sync(facts).wait
}

fn file(level: u8, txid: u64) -> FileFacts {
    FileFacts {
        level,
        min_txid: txid,
        max_txid: txid,
        size_bytes: 4096,
        created: 1,
    }
}

fn merges(level: u8, waiting: u64) -> usize {
    let facts = CompactionFacts {
        now: 1_764_237_600_000,
        levels: vec![LevelFacts {
            level,
            interval: 30_000,
            newest: None,
            waiting: (2..2 + waiting).map(|txid| file(level - 1, txid)).collect(),
            ends_at_gap: false,
        }],
        inputs_max: 256,
        budget_left: 100,
    };
    Thrifty::plan_compaction(facts).len()
}

#[test]
fn every_commit_waits_for_the_whole_interval() {
    assert_eq!((sync(0), sync(400), sync(2000)), (1000, 600, 0));
}

#[test]
fn a_level_waits_for_enough_files_but_for_the_first() {
    assert_eq!((merges(1, 1), merges(2, 5), merges(2, 6)), (1, 0, 1));
}
