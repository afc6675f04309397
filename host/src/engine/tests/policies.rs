//! A policy that changes while an application writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use crate::policy::trace::{TraceReader, TraceSettings};
use crate::policy::{Installation, PolicySource};

/// Commits in the test below: a second of them at a thousand in a second.
const COMMITS: i64 = 2000;
const PACE: Duration = Duration::from_millis(1);

/// A component whose syncs wait so many milliseconds.
fn waits(ms: u32) -> Guest {
    Guest::default().export("plan-sync", &format!("(i64.const {ms})"))
}

fn wanted(guest: &Guest) -> Installation {
    Installation {
        shadow_decisions: 1,
        ..Installation::new(PolicySource::Bytes(guest.build()))
    }
}

/// Commits at a steady pace until all is done; returns how long the longest commit took.
fn commit(app: &Connection, is_done: &AtomicBool) -> Duration {
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    for n in 0..COMMITS {
        let due = begin + PACE * u32::try_from(n).unwrap();
        while Instant::now() < due {
            thread::yield_now();
        }
        let before = Instant::now();
        insert(app);
        longest = longest.max(before.elapsed());
    }
    is_done.store(true, Ordering::Release);
    longest
}

/// Puts one policy after the other in place until `is_done`; returns how often.
async fn take_turns(keeper: &Lockkeeper, is_done: &AtomicBool) -> usize {
    let mut swaps = 0;
    for ms in 1.. {
        keeper
            .install_policy(wanted(&waits(ms % 40)))
            .await
            .unwrap();
        keeper.roll_back_policy().unwrap();
        swaps += 2;
        if is_done.load(Ordering::Acquire) {
            break;
        }
    }
    swaps
}

#[tokio::test]
async fn no_transaction_is_lost_while_policies_take_turns_under_a_thousand_commits_a_second() {
    let (dir, app) = fixture();
    let trace = TraceSettings::new(dir.path().join("trace"));
    let component = waits(0).load().unwrap();
    let policy = Policy::start(component, Some(&trace), None).unwrap();
    let keeper = start_with(policy, Entry::File(settings(dir.path(), |_| {})));
    let is_done = Arc::new(AtomicBool::new(false));
    let writing = {
        let is_done = Arc::clone(&is_done);
        thread::spawn(move || (commit(&app, &is_done), app))
    };
    let swaps = take_turns(&keeper, &is_done).await;
    let (longest, _app) = writing.join().unwrap();
    println!("{swaps} swaps; the longest of {COMMITS} commits took {longest:?}");
    assert!(swaps >= 2);
    keeper.sync().await.unwrap();
    let status = keeper.status();
    let database = &status.databases[0];
    assert_eq!(database.state, DatabaseState::Replicating);
    assert_eq!((database.lost, database.undone), (None, None));
    assert_eq!(restored_rows(dir.path()).await, COMMITS);
    keeper.stop(DEADLINE).await.unwrap();
    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let files = Inventory::new(replica.list_all().await.unwrap());
    for pair in files.level(Level::L0).windows(2) {
        assert_eq!(pair[0].range().max().next(), Some(pair[1].range().min()));
    }
}

#[tokio::test]
async fn status_says_who_decides_and_what_was_decided_and_the_trace_has_it() {
    let (dir, app) = fixture();
    let trace = TraceSettings::new(dir.path().join("trace"));
    let component = waits(0).load().unwrap();
    let policy = Policy::start(component.clone(), Some(&trace), None).unwrap();
    let keeper = start_with(policy, Entry::File(settings(dir.path(), |_| {})));
    insert(&app);
    keeper.sync().await.unwrap();
    let identity = keeper.deciding().component.unwrap();
    assert_eq!(identity.digest, component.digest());
    // The snapshot is decided about in a turn that comes by itself.
    let snapshot = |status: &Status| {
        let mut notes = status.databases[0].decisions.iter();
        notes.find(|note| note.decision == "plan-snapshot").cloned()
    };
    let note = loop {
        if let Some(note) = snapshot(&keeper.status()) {
            break note;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(note.by.as_deref(), Some("test"));
    keeper.stop(DEADLINE).await.unwrap();
    let begin = Instant::now();
    let records = loop {
        let read = TraceReader::open(&trace.folder).map(Iterator::collect::<Vec<_>>);
        match read {
            Ok(records) if !records.is_empty() => break records,
            _ => assert!(begin.elapsed() < DEADLINE),
        }
        tokio::task::yield_now().await;
    };
    let path = dir.path().join("app.db");
    let is_ours = |record: &crate::policy::trace::Record| {
        record.database == path.to_string_lossy() && record.policy == component.digest()
    };
    assert!(records.iter().all(is_ours), "{records:?}");
}
