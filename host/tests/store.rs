//! Stores keep to their contract.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lockkeeper::store::{
    FileStore, ObjectStoreAdapter, Replica, Store as _, body_from_bytes, conformance,
};
use lockkeeper_ltx::Level;

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&FileStore::open(dir.path().join("new/root")).unwrap()).await;
}

#[tokio::test]
async fn an_object_store_keeps_the_contract() {
    let memory = Arc::new(object_store::memory::InMemory::new());
    conformance(&ObjectStoreAdapter::new(memory.clone(), "a/b").unwrap()).await;
    conformance(&ObjectStoreAdapter::new(memory, "c").unwrap()).await;
}

#[tokio::test]
async fn files_and_folders_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("r");
    let store = FileStore::open(&root).unwrap();
    store
        .put("ltx/0/a", 1, body_from_bytes(&b"1"[..]))
        .await
        .unwrap();
    for (path, mode) in [
        ("", 0o700),
        ("ltx", 0o700),
        ("ltx/0", 0o700),
        ("ltx/0/a", 0o600),
    ] {
        let found = std::fs::metadata(root.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
}

#[tokio::test]
async fn links_do_not_lead_out_of_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("r");
    std::fs::create_dir_all(root.join("ltx")).unwrap();
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    std::fs::write(dir.path().join("outside/secret"), "s").unwrap();
    symlink("../../outside", root.join("ltx/0")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();
    let store = FileStore::open(&root).unwrap();
    assert!(store.get("ltx/0/secret", 0).await.is_err());
    assert!(store.get("file", 0).await.is_err());
    assert!(
        store
            .put("ltx/0/x", 1, body_from_bytes(&b"1"[..]))
            .await
            .is_err()
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("outside"))
            .unwrap()
            .count(),
        1
    );
}

#[tokio::test]
async fn a_put_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path()).unwrap();
    let body = stream::iter([Ok(bytes::Bytes::from_static(b"part"))]).chain(stream::pending());
    let put = store.put("a", 1, body.boxed());
    let limit = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(limit, put).await.is_err());
    while std::fs::read_dir(dir.path()).unwrap().count() > 0 {
        tokio::task::yield_now().await; // The writer removes its file when it sees the end.
    }
}

#[tokio::test]
async fn a_replica_lists_only_ltx_files() {
    let dir = tempfile::tempdir().unwrap();
    let replica = Replica::file(dir.path()).unwrap();
    let name = "0000000000000001-000000000000000a.ltx".parse().unwrap();
    replica
        .put(Level::SNAPSHOT, name, 77, body_from_bytes(&b"123"[..]))
        .await
        .unwrap();
    let folder = dir.path().join("ltx/9");
    std::fs::write(
        folder.join("0000000000000001-000000000000000b.ltx.tmp"),
        "x",
    )
    .unwrap();
    std::fs::write(folder.join("readme"), "x").unwrap();
    let files = replica.list_all().await.unwrap();
    assert_eq!(files.len(), 1);
    let found = (
        files[0].level,
        files[0].name,
        files[0].size,
        files[0].created_ms,
    );
    assert_eq!(found, (Level::SNAPSHOT, name, 3, 77));
}
