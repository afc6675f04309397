//! Stores keep to their contract.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use lockkeeper::store::{
    FileStore, ObjectStoreAdapter, Replica, Store as _, body_from_bytes, conformance,
};
use lockkeeper_ltx::Level;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&FileStore::open(dir.path().join("new/root")).unwrap()).await;
}

#[tokio::test]
async fn an_object_store_keeps_the_contract() {
    let memory = Arc::new(InMemory::new());
    conformance(&ObjectStoreAdapter::new(memory.clone(), "a/b").unwrap()).await;
    conformance(&ObjectStoreAdapter::new(memory, "c").unwrap()).await;
}

#[tokio::test]
async fn a_store_without_conditions_keeps_the_contract_but_for_races() {
    let memory = Arc::new(Unconditional(InMemory::new()));
    let store = ObjectStoreAdapter::new(memory, "a").unwrap();
    assert!(store.excludes_races(1), "nothing is known of it yet");
    conformance(&store).await;
    assert!(!store.excludes_races(1));
}

#[tokio::test]
async fn objects_of_several_parts_are_not_safe_from_races() {
    let store = ObjectStoreAdapter::new(Arc::new(InMemory::new()), "a").unwrap();
    assert!(store.excludes_races(1 << 20) && !store.excludes_races(1 << 30));
}

#[tokio::test]
async fn an_object_that_comes_while_parts_are_sent_is_not_overwritten() {
    let memory = Arc::new(InMemory::new());
    let store = ObjectStoreAdapter::new(memory.clone(), "a").unwrap();
    let other = ObjectStoreAdapter::new(memory, "a").unwrap();
    let part = || Ok(bytes::Bytes::from(vec![0; 6 << 20]));
    let body = stream::iter([part()]).chain(stream::once(async move {
        let put = other.put("key", 1, body_from_bytes(&b"other"[..])).await;
        put.map_err(std::io::Error::other).and_then(|_| part())
    }));
    let error = store.put("key", 1, body.boxed()).await.unwrap_err();
    assert_eq!(error.kind(), lockkeeper::ErrorKind::Conflict, "{error}");
    let (bytes, _) = store.get_small("key").await.unwrap().unwrap();
    assert_eq!(&bytes[..], b"other");
}

/// As stores that were made before conditional writes.
#[derive(Debug)]
struct Unconditional(InMemory);

impl std::fmt::Display for Unconditional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unconditional {}", self.0)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Unconditional {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        if opts.mode != PutMode::Overwrite {
            return Err(object_store::Error::NotImplemented {
                operation: "conditional puts".into(),
                implementer: self.to_string(),
            });
        }
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
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
