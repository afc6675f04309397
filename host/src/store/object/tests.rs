use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use super::*;
use crate::store::body_from_bytes;

/// Takes conditions, and may ignore them.
#[derive(Debug)]
struct Careless {
    inner: InMemory,
    ignores: bool,
}

impl fmt::Display for Careless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("careless")
    }
}

#[async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if self.ignores {
            options.mode = PutMode::Overwrite;
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn unproven(ignores: bool) -> ObjectStoreAdapter {
    let inner = InMemory::new();
    let bucket = Bucket {
        conditions: Conditions::Unproven,
        ..Bucket::new(Arc::new(Careless { inner, ignores }))
    };
    ObjectStoreAdapter::below(bucket, Path::from("p"))
}

async fn put(store: &ObjectStoreAdapter, text: &'static str) -> Result<u64> {
    store.put("key", 1, body_from_bytes(text.as_bytes())).await
}

#[tokio::test]
async fn a_store_is_trusted_once_it_has_refused_to_write_twice() {
    let store = unproven(false);
    assert!(!store.excludes_races(1));
    put(&store, "first").await.unwrap();
    assert!(store.excludes_races(1));
    let error = put(&store, "other").await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Conflict);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_never_trusted_and_overwrites_nothing() {
    let store = unproven(true);
    put(&store, "first").await.unwrap();
    assert!(!store.excludes_races(1));
    let error = put(&store, "other").await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Conflict);
    let (bytes, _) = store.get_small("key").await.unwrap().unwrap();
    assert_eq!(&bytes[..], b"first");
}

#[tokio::test]
async fn the_proof_of_a_conditional_change_leaves_the_change() {
    for ignores in [false, true] {
        let store = unproven(ignores);
        let put = |text: &'static str, expected| store.put_if("key", text.into(), expected);
        let one = put("one", Expected::Absent).await.unwrap();
        store.set_conditions(Conditions::Unproven);
        let two = put("two", Expected::Version(&one)).await.unwrap();
        let (bytes, found) = store.get_small("key").await.unwrap().unwrap();
        assert_eq!((&bytes[..], found), (&b"two"[..], two));
        assert!(!store.excludes_races(1), "only a creation proves that");
    }
}
