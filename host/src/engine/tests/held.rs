//! Components that are held in the middle of a call, and commits that do not wait for them.
//!
//! On a machine that does other things a clock proves little. So the component is held until the
//! test lets it go, and meanwhile the test commits: a commit that waits for the call fails, for
//! nobody else is there to end the call.

use super::*;
use crate::policy::testing::Gate;
use crate::policy::{Installation, PolicySource};

/// Commits beside one held call: a second of them at a thousand in a second.
const COMMITS: usize = 1000;

/// A component that is held in this decision.
fn held_in(name: &'static str, answer: &str) -> Guest {
    Guest::default().held_in(name, &format!("(say) {answer}"))
}

/// Commits until a component is held.
async fn is_held(gate: &Gate, app: &Connection, keeper: &Lockkeeper) {
    let waiting = async {
        while !gate.is_holding() {
            insert(app);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let held = tokio::time::timeout(DEADLINE, waiting).await;
    held.unwrap_or_else(|_| panic!("it is not asked: {:?}", keeper.status()));
}

fn quick(settings: &mut DatabaseSettings) {
    settings.monitor_interval = Duration::from_millis(5);
    settings.min_checkpoint_pages = 10;
    settings.life.l0_retention_check = Duration::from_millis(10);
}

/// Commits while `guest` is held, and finds every commit in the replica afterwards.
async fn commits_do_not_wait(guest: Guest) {
    let gate = Gate::default();
    let _log = tracing::subscriber::set_default(gate.log());
    let (dir, app) = fixture();
    let entry = Entry::File(settings(dir.path(), quick));
    let keeper = start_with(guest.policy(), entry);
    is_held(&gate, &app, &keeper).await;
    commits_are_made(dir, app, keeper, gate).await;
}

async fn commits_are_made(dir: TempDir, app: Connection, keeper: Lockkeeper, gate: Gate) {
    for _ in 0..COMMITS {
        insert(&app);
    }
    assert!(gate.is_holding(), "the call ended before the commits");
    gate.open();
    keeper.sync().await.unwrap();
    keeper.stop(DEADLINE).await.unwrap();
    let written = rows(&dir.path().join("app.db"));
    assert!(written >= i64::try_from(COMMITS).unwrap());
    assert_eq!(restored_rows(dir.path()).await, written);
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_when_to_seal() {
    commits_do_not_wait(held_in("plan-sync", "(i64.const 0)")).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_about_a_checkpoint() {
    commits_do_not_wait(held_in("plan-checkpoint", "(i32.const 1)")).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_about_a_snapshot() {
    commits_do_not_wait(held_in("plan-snapshot", "(i32.const 256)")).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_what_to_merge() {
    commits_do_not_wait(held_in("plan-compaction", "(i32.const 256)")).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_what_to_hold() {
    commits_do_not_wait(held_in("plan-holds", "(i32.const 256)")).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_is_told_of_an_event() {
    // Nothing is known of holds, which pauses deletions, which is an event.
    let guest = held_in("on-event", "(i32.const 256)").export("plan-holds", "(unreachable)");
    commits_do_not_wait(guest).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_about_a_verification() {
    let gate = Gate::default();
    let _log = tracing::subscriber::set_default(gate.log());
    let (dir, app) = fixture();
    let settings = settings(dir.path(), |settings| {
        quick(settings);
        settings.life.validation = Some(Duration::from_secs(1));
    });
    let guest = held_in("plan-verification", "(i32.const 256)");
    let keeper = start_with(guest.policy(), Entry::File(settings));
    is_held(&gate, &app, &keeper).await;
    commits_are_made(dir, app, keeper, gate).await;
}

#[tokio::test]
async fn no_commit_waits_for_a_component_that_decides_what_to_keep() {
    let gate = Gate::default();
    let _log = tracing::subscriber::set_default(gate.log());
    let (dir, app) = fixture();
    let settings = settings(dir.path(), |settings| {
        quick(settings);
        settings.life.snapshot_retention = Duration::from_secs(1);
    });
    let guest = held_in("plan-retention", "(i32.const 256)");
    let keeper = start_with(guest.policy(), Entry::File(settings));
    // Nobody is asked while there is nothing that could go. The first of two snapshots can.
    for _ in 0..2 {
        insert(&app);
        keeper.snapshot(dir.path().join("app.db")).await.unwrap();
    }
    is_held(&gate, &app, &keeper).await;
    commits_are_made(dir, app, keeper, gate).await;
}

/// Has a candidate that is held in its trial, and replicates meanwhile.
async fn replication_does_not_wait_for(candidate: Guest) {
    let gate = Gate::default();
    let _log = tracing::subscriber::set_default(gate.log());
    let (dir, app) = fixture();
    let policy = Guest::default().policy_with_observer();
    let keeper = start_with(policy, Entry::File(settings(dir.path(), quick)));
    insert(&app);
    keeper.sync().await.unwrap();
    let before = keeper.deciding().component.unwrap();
    let wanted = Installation {
        shadow_time: DEADLINE,
        ..Installation::new(PolicySource::Bytes(candidate.build()))
    };
    let mut installing = Box::pin(keeper.install_policy(wanted));
    tokio::select! {
        biased;
        done = &mut installing => panic!("{done:?}"),
        () = is_held(&gate, &app, &keeper) => {}
    }
    for _ in 0..COMMITS {
        insert(&app);
    }
    keeper.sync().await.unwrap();
    assert_eq!(
        restored_rows(dir.path()).await,
        rows(&dir.path().join("app.db"))
    );
    assert!(gate.is_holding(), "the call ended before the commits");
    let deciding = keeper.deciding();
    assert_eq!(deciding.component, Some(before));
    let another = Installation::new(PolicySource::Embedded);
    let error = keeper.install_policy(another).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Conflict);
    gate.open();
    // Held for long, it may have missed its deadline.
    drop(installing.as_mut().await);
    drop(installing);
    keeper.stop(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn replication_does_not_wait_for_a_candidate_that_is_in_its_self_test() {
    replication_does_not_wait_for(held_in("plan-sync", "(i64.const 0)")).await;
}

#[tokio::test]
async fn replication_does_not_wait_for_a_candidate_that_answers_beside_the_current_one() {
    // Of all questions, it is held in one of this application: about fifty milliseconds.
    let body = "(if (i64.eq (local.get 12) (i64.const 50)) (then (say))) (i64.const 0)";
    replication_does_not_wait_for(Guest::default().held_in("plan-sync", body)).await;
}
