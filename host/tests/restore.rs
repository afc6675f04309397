//! A restore refuses what it cannot do right, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockkeeper::restore::{
    RestoreOptions, Target, check_timestamp_bounds, plan_only, plan_restore, restore,
};
use lockkeeper::store::{
    Body, Expected, FileStore, Layout, ObjectInfo, Replica, Store, Times, Version, body_from_bytes,
};
use lockkeeper::{ErrorKind, Lockkeeper, Result};
use lockkeeper_ltx::Level;
use rusqlite::Connection;

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
async fn a_point_before_the_first_file_is_told_from_files_that_were_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let app = Connection::open(dir.path().join("app.db")).unwrap();
    app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)")
        .unwrap();
    let builder = Lockkeeper::builder()
        .config("dbs: [{path: app.db, replica: {path: replica}}]")
        .base_dir(dir.path());
    let keeper = builder.start().await.unwrap();
    keeper.sync().await.unwrap();
    keeper.stop(Duration::from_secs(60)).await.unwrap();

    let replica = Replica::file(dir.path().join("replica")).unwrap();
    let early = plan_restore(&replica, Target::Before(1)).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Invalid, "{early}");
    std::fs::remove_dir_all(dir.path().join("replica/ltx")).unwrap();
    for target in [Target::Before(1), Target::Latest] {
        let lost = plan_restore(&replica, target).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Corrupt, "{lost}");
    }
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

/// Lists files that are gone when they are read.
#[derive(Debug)]
struct Vanishing(lockkeeper::store::FileStore);

#[async_trait::async_trait]
impl Store for Vanishing {
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64> {
        self.0.put(key, created_ms, body).await
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        self.0.put_if(key, bytes, expected).await
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.0.get_small(key).await
    }

    fn excludes_races(&self, size: u64) -> bool {
        self.0.excludes_races(size)
    }

    async fn get(&self, _key: &str, _offset: u64) -> Result<Option<Body>> {
        Ok(None)
    }

    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        self.0.list(prefix, times).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_meanwhile_is_named_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    replica(dir.path(), &[(9, "0000000000000001-0000000000000002.ltx")]).await;
    let store = FileStore::open(dir.path().join("replica")).unwrap();
    let replica = Replica::new(Arc::new(Vanishing(store)), Layout::Standard);
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("out.db"), "old").unwrap();
    let options = RestoreOptions {
        force: true,
        ..RestoreOptions::new(out.path().join("out.db"))
    };
    let error = restore(&replica, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = "level 9 0000000000000001-0000000000000002.ltx";
    assert!(error.to_string().contains(text), "{error}");
    assert_eq!(
        std::fs::read_to_string(out.path().join("out.db")).unwrap(),
        "old"
    );
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
}
