//! The contract of a store, as a test that every store must pass.
#![expect(clippy::unwrap_used, reason = "a failure here is a failure of a test")]

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Body, Expected, SMALL_LEN_MAX, Store, Times, body_from_bytes};
use crate::ErrorKind;

/// Larger than one part of an upload and one piece of a read.
const LARGE_LEN: usize = 6 * 1024 * 1024 + 17;

/// Parts of an upload, without a rest.
const EVEN_LEN: usize = 5 * 1024 * 1024;

/// Writers that meet at one key.
const WRITERS: u8 = 4;

/// When the objects of the checks were made.
const TIME_MS: i64 = 1_795_449_658_764;

/// Holds an empty store against the contract of [`Store`].
///
/// # Panics
///
/// If the store breaks the contract.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::store::{FileStore, conformance};
///
/// conformance(&FileStore::open(folder.path())?).await;
/// # Ok(())
/// # }
/// ```
pub async fn conformance(store: &dyn Store) {
    an_empty_folder(store).await;
    what_was_written(store).await;
    one_folder(store).await;
    large_objects(store).await;
    broken_bodies(store).await;
    keys_that_lead_elsewhere(store).await;
    what_was_deleted(store).await;
    objects_are_created_once(store).await;
    small_objects_change_as_expected(store).await;
    one_of_many_writers_wins(store).await;
}

/// A folder that does not exist is empty.
async fn an_empty_folder(store: &dyn Store) {
    assert!(store.list("ltx/0", Times::Sealed).await.unwrap().is_empty());
    assert!(store.folders("").await.unwrap().is_empty());
    assert!(store.get("ltx/0/a", 0).await.unwrap().is_none());
    store.delete("ltx/0/a").await.unwrap();
}

/// What was written is read, from any offset, and listed with its time.
async fn what_was_written(store: &dyn Store) {
    assert_eq!(
        store
            .put("ltx/0/b", TIME_MS, body_from_bytes(&b"hello"[..]))
            .await
            .unwrap(),
        5
    );
    assert_eq!(
        store
            .put("ltx/0/a", TIME_MS + 1, body_from_bytes(Bytes::new()))
            .await
            .unwrap(),
        0
    );
    assert_eq!(read(store, "ltx/0/b", 0).await, b"hello");
    assert_eq!(read(store, "ltx/0/b", 3).await, b"lo");
    assert_eq!(read(store, "ltx/0/b", 5).await, b"");
    assert_eq!(read(store, "ltx/0/a", 0).await, b"");
    let listed = store.list("ltx/0", Times::Sealed).await.unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|o| (o.key.as_str(), o.size, o.created_ms()))
        .collect();
    assert_eq!(
        listed,
        [("ltx/0/a", 0, TIME_MS + 1), ("ltx/0/b", 5, TIME_MS)]
    );
}

/// A listing shows one folder: neither its subfolders nor folders whose names begin alike.
async fn one_folder(store: &dyn Store) {
    store
        .put("ltx/0/c/d", TIME_MS, body_from_bytes(&b"1"[..]))
        .await
        .unwrap();
    store
        .put("ltx/01/e", TIME_MS, body_from_bytes(&b"1"[..]))
        .await
        .unwrap();
    assert_eq!(store.list("ltx/0", Times::Sealed).await.unwrap().len(), 2);
    assert_eq!(store.folders("ltx").await.unwrap(), ["0", "01"]);
    assert_eq!(store.folders("").await.unwrap(), ["ltx"]);
}

/// A body that must not be asked again after its end.
fn strict(content: &[u8]) -> Body {
    let pieces = content.chunks(70_001).map(Bytes::copy_from_slice);
    let pieces: Vec<_> = pieces.collect();
    stream::unfold(pieces.into_iter(), |mut pieces| async move {
        pieces.next().map(|piece| (Ok(piece), pieces))
    })
    .boxed()
}

/// Large objects arrive whole.
async fn large_objects(store: &dyn Store) {
    let large = large();
    let size = store.put("large", TIME_MS, strict(&large)).await.unwrap();
    assert_eq!(size, LARGE_LEN as u64);
    assert!(read(store, "large", 0).await == large);
    let even = &large[..EVEN_LEN];
    store.put("even", TIME_MS, strict(even)).await.unwrap();
    assert!(read(store, "even", 0).await == even);
    store.delete("even").await.unwrap();
}

/// A body that fails leaves nothing.
async fn broken_bodies(store: &dyn Store) {
    for before in [&b"abc"[..], &large()] {
        let pieces = [
            Ok(Bytes::copy_from_slice(before)),
            Err(std::io::Error::other("cut")),
        ];
        let body: Body = stream::iter(pieces).boxed();
        assert!(store.put("ltx/0/x", TIME_MS, body).await.is_err());
        assert!(store.get("ltx/0/x", 0).await.unwrap().is_none());
    }
    assert_eq!(store.list("ltx/0", Times::Sealed).await.unwrap().len(), 2);
}

/// Keys that lead elsewhere are refused.
async fn keys_that_lead_elsewhere(store: &dyn Store) {
    for bad in ["", "..", "../x", "/x", "a/../../x", "a\\b", "a\0b", "a//b"] {
        assert!(
            store
                .put(bad, TIME_MS, body_from_bytes(&b"1"[..]))
                .await
                .is_err(),
            "{bad:?}"
        );
        assert!(store.get(bad, 0).await.is_err(), "{bad:?}");
        assert!(store.delete(bad).await.is_err(), "{bad:?}");
    }
}

/// What was deleted is gone, and may be deleted again.
async fn what_was_deleted(store: &dyn Store) {
    store.delete("ltx/0/b").await.unwrap();
    store.delete("ltx/0/b").await.unwrap();
    assert!(store.get("ltx/0/b", 0).await.unwrap().is_none());
    assert_eq!(store.list("ltx/0", Times::Sealed).await.unwrap().len(), 1);
}

/// A second write is a conflict and changes nothing, whatever its size; after a deletion it is a
/// first one.
async fn objects_are_created_once(store: &dyn Store) {
    for first in [b"first".to_vec(), large()] {
        let put = |content: Vec<u8>| store.put("once", TIME_MS, body_from_bytes(content));
        put(first.clone()).await.unwrap();
        for second in [b"other".to_vec(), first.clone(), large()] {
            let error = put(second).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
        assert!(read(store, "once", 0).await == first);
        store.delete("once").await.unwrap();
    }
    assert_eq!(store.folders("").await.unwrap(), ["ltx"]);
}

/// A small object is written only over what the writer knows.
async fn small_objects_change_as_expected(store: &dyn Store) {
    let put = |text: &'static str, expected| store.put_if("small", text.into(), expected);
    let conflicts = async |text, expected| {
        let error = put(text, expected).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    };
    assert!(store.get_small("small").await.unwrap().is_none());
    let one = put("one", Expected::Absent).await.unwrap();
    conflicts("again", Expected::Absent).await;
    let (bytes, found) = store.get_small("small").await.unwrap().unwrap();
    assert_eq!((&bytes[..], &found), (&b"one"[..], &one));
    let two = put("second", Expected::Version(&one)).await.unwrap();
    conflicts("third", Expected::Version(&one)).await;
    assert_eq!(read(store, "small", 0).await, b"second");
    store.delete("small").await.unwrap();
    conflicts("third", Expected::Version(&two)).await;
    assert!(store.get_small("small").await.unwrap().is_none());
    let too_much = Bytes::from(vec![0; SMALL_LEN_MAX + 1]);
    let refused = store.put_if("small", too_much, Expected::Absent).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    store
        .put("wide", TIME_MS, body_from_bytes(large()))
        .await
        .unwrap();
    let refused = store.get_small("wide").await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    store.delete("wide").await.unwrap();
}

/// Of writers that meet, one wins and each of the others is told.
async fn one_of_many_writers_wins(store: &dyn Store) {
    if !store.excludes_races(1) {
        return;
    }
    let created = (0..WRITERS).map(|n| store.put("race", TIME_MS, body_from_bytes(vec![n; 9])));
    let created = futures::future::join_all(created).await;
    let winners: Vec<u8> = winners(created.iter().map(Result::is_ok));
    assert_eq!(winners.len(), 1);
    assert_eq!(read(store, "race", 0).await, [winners[0]; 9]);
    let (_, version) = store.get_small("race").await.unwrap().unwrap();
    let swapped = (0..WRITERS).map(|n| {
        let expected = Expected::Version(&version);
        store.put_if("race", vec![n; 8].into(), expected)
    });
    let swapped = futures::future::join_all(swapped).await;
    let winners: Vec<u8> = self::winners(swapped.iter().map(Result::is_ok));
    assert_eq!(winners.len(), 1);
    assert_eq!(read(store, "race", 0).await, [winners[0]; 8]);
    store.delete("race").await.unwrap();
}

fn winners(won: impl Iterator<Item = bool>) -> Vec<u8> {
    (0..)
        .zip(won)
        .filter_map(|(n, won)| won.then_some(n))
        .collect()
}

/// Bytes that differ from place to place.
fn large() -> Vec<u8> {
    (0..LARGE_LEN).map(|n| (n % 251) as u8).collect()
}

async fn read(store: &dyn Store, key: &str, offset: u64) -> Vec<u8> {
    let body = store.get(key, offset).await.unwrap().unwrap();
    let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
    pieces.concat()
}
