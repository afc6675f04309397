//! A restore refuses what it cannot do right, and leaves nothing behind.

use std::path::Path;

use lockkeeper::ErrorKind;
use lockkeeper::restore::Target;
use lockkeeper::restore::{RestoreOptions, check_timestamp_bounds, plan_only, restore};
use lockkeeper::store::{Replica, body_from_bytes};
use lockkeeper_ltx::Level;

async fn replica(dir: &Path, names: &[(u8, &str)]) -> Replica {
    let replica = Replica::file(dir.join("replica")).unwrap();
    for (n, &(level, name)) in (1..).zip(names) {
        let (level, name) = (Level::new(level).unwrap(), name.parse().unwrap());
        replica
            .put(level, name, n * 10, body_from_bytes(vec![0; 200]))
            .await
            .unwrap();
    }
    replica
}

#[tokio::test]
async fn a_gap_says_how_far_a_restore_would_reach() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        (9, "0000000000000001-0000000000000002.ltx"),
        (0, "0000000000000005-0000000000000005.ltx"),
    ];
    let replica = replica(dir.path(), &names).await;
    let output = dir.path().join("out.db");
    let error = restore(&replica, RestoreOptions::new(&output))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = "have up to 0000000000000002 but next file starts at 0000000000000005";
    assert!(error.to_string().contains(text), "{error}");
    assert!(!output.exists());
    let plan = plan_only(&replica, Target::Before(20)).await.unwrap();
    assert_eq!((plan.files().len(), plan.size()), (1, 200));
}

#[tokio::test]
async fn an_empty_replica_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let replica = replica(dir.path(), &[]).await;
    let error = plan_only(&replica, Target::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .to_string()
            .ends_with("no matching backup files available"),
        "{error}"
    );
}

#[tokio::test]
async fn a_leftover_log_stops_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let replica = replica(dir.path(), &[(9, "0000000000000001-0000000000000002.ltx")]).await;
    std::fs::write(dir.path().join("out.db-wal"), "old").unwrap();
    let options = RestoreOptions::new(dir.path().join("out.db"));
    let error = restore(&replica, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("out.db-wal already exists"),
        "{error}"
    );
}

#[tokio::test]
async fn a_time_outside_of_the_replica_does_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        (9, "0000000000000001-0000000000000002.ltx"),
        (0, "0000000000000003-0000000000000003.ltx"),
    ];
    let files = replica(dir.path(), &names).await.list_all().await.unwrap();
    for (time_ms, ok) in [(9, false), (10, true), (20, true), (21, false)] {
        assert_eq!(
            check_timestamp_bounds(&files, time_ms).is_ok(),
            ok,
            "{time_ms}"
        );
    }
    assert!(check_timestamp_bounds(&[], 1).is_err());
}
