//! A policy that changes while an application writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use lockkeeper_core::decision::Facts;

use crate::policy::trace::{Answer, Record, TraceReader, TraceSettings, hash};
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

/// Commits at a steady pace until all is done.
fn commit(app: &Connection, is_done: &AtomicBool) {
    let begin = Instant::now();
    for n in 0..COMMITS {
        let due = begin + PACE * u32::try_from(n).unwrap();
        while Instant::now() < due {
            thread::yield_now();
        }
        insert(app);
    }
    is_done.store(true, Ordering::Release);
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
        thread::spawn(move || {
            commit(&app, &is_done);
            app
        })
    };
    let swaps = take_turns(&keeper, &is_done).await;
    let _app = writing.join().unwrap();
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
    recorded(&trace.folder, "plan-snapshot").await;
    let records: Vec<Record> = TraceReader::open(&trace.folder).unwrap().collect();
    let path = dir.path().join("app.db");
    let is_ours = |record: &Record| {
        record.database == path.to_string_lossy() && record.policy == component.digest()
    };
    assert!(records.iter().all(is_ours), "{records:?}");
}

/// The first recorded decision of a kind; waits until there is one.
pub(super) async fn recorded(folder: &Path, decision: &str) -> Record {
    let waiting = async {
        loop {
            let records = TraceReader::open(folder);
            let mut records = records.into_iter().flatten();
            if let Some(found) = records.find(|record| record.facts.name() == decision) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, waiting).await;
    found.unwrap_or_else(|_| panic!("{decision} is not in the trace"))
}

#[tokio::test]
async fn an_event_is_in_the_trace_with_the_file_it_is_about_and_what_people_were_told() {
    let (dir, app) = fixture();
    let trace = TraceSettings::new(dir.path().join("trace"));
    // Nothing is known of holds, which pauses deletions. Five alerts are one too many.
    let guest = Guest::default()
        .export("plan-holds", "(unreachable)")
        .item(r#"(data (i32.const 400) "\00\04\00\00\05\00\00\00")"#)
        .export("on-event", "(i32.const 400)");
    let component = guest.load().unwrap();
    let policy = Policy::start(component.clone(), Some(&trace), None).unwrap();
    let settings = settings(dir.path(), |settings| {
        settings.monitor_interval = Duration::from_millis(5);
        settings.life.l0_retention_check = Duration::from_millis(10);
    });
    let keeper = start_with(policy, Entry::File(settings));
    insert(&app);
    keeper.sync().await.unwrap();
    let record = recorded(&trace.folder, "on-event").await;
    let Facts::Event(event) = &record.facts else {
        panic!("{record:?}")
    };
    assert_eq!(
        (event.code.as_ref(), event.begins),
        ("deletion-paused", true)
    );
    assert_eq!(event.database, "app.db");
    assert_eq!(record.database, dir.path().join("app.db").to_string_lossy());
    assert_eq!(record.policy, component.digest());
    assert_eq!(record.outcome, "4 alerts, the first: ");
    assert_eq!(record.clamps, [("too-many-alerts".to_owned(), 1)]);
    // Whoever is asked again gives the same answer.
    let asked = component.on_trial(|trial| trial.propose(&record.facts));
    let (proposal, _) = asked.unwrap().unwrap();
    let Answer::Proposed { hash: found, .. } = &record.answer else {
        panic!("{record:?}")
    };
    assert_eq!(*found, hash(&proposal));
    keeper.stop(DEADLINE).await.unwrap();
}
