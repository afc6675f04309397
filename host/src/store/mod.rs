//! Where replicas live.

pub(crate) mod cloud;
mod condition;
mod conformance;
mod doctor;
mod file;
mod key;
mod object;
mod reading;
mod replica;
mod swap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::Result;

pub use cloud::RequestCounts;
pub use condition::{Expected, SMALL_LEN_MAX, Version};
#[doc(hidden)]
pub use conformance::conformance;
pub use doctor::{Check, Verdict, examine};
pub use file::FileStore;
pub use lockkeeper_core::inventory::ReplicaFile;
pub use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
pub use object::ObjectStoreAdapter;
pub(crate) use reading::{FetchError, Source, Wanted};
pub(crate) use replica::Contents;
pub use replica::{Layout, Replica, body_from_bytes, body_from_file};

/// Bytes on their way to or from a store.
pub type Body = BoxStream<'static, std::io::Result<Bytes>>;

/// Reads what is left of an object if it is at most `max` bytes; else `None`.
pub(crate) async fn collect_up_to(mut body: Body, max: usize) -> Result<Option<Vec<u8>>> {
    use futures::StreamExt as _;
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            crate::Error::unavailable("an object of the replica broke off").with_source(error)
        })?;
        if all.len() + piece.len() > max {
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all))
}

/// Which times a listing shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Times {
    /// Those that cost nothing more: when the objects were sealed, or when the store got them,
    /// which is later.
    Listed,
    /// When the objects were sealed; for object stores, at the price of a request for each.
    Sealed,
}

/// One object of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectInfo {
    /// Key below the root of the replica, with `/` between its parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When its content was sealed; see [`Times`].
    pub created: jiff::Timestamp,
}

impl ObjectInfo {
    /// The last millisecond since the Unix epoch that had begun when it was sealed: "sealed before
    /// T" is the same of it and of the exact time, for every T in whole milliseconds.
    ///
    /// LTX files have times in whole milliseconds, but a Litestream that is killed between naming a
    /// file and setting its time leaves an exact one.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lockkeeper::store::ObjectInfo;
    ///
    /// let object = ObjectInfo {
    ///     key: "ltx/0/0000000000000001-0000000000000001.ltx".into(),
    ///     size: 100,
    ///     created: "2026-11-25T08:30:00.123Z".parse()?,
    /// };
    /// assert_eq!(object.created_ms() % 1000, 123);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn created_ms(&self) -> i64 {
        to_ms(self.created.as_nanosecond().div_euclid(NANOS_PER_MS))
    }

    /// The first millisecond since the Unix epoch that had not begun before it was sealed: "sealed
    /// by T" is the same of it and of the exact time, for every T in whole milliseconds.
    pub(crate) fn created_by_ms(&self) -> i64 {
        to_ms(-(-self.created.as_nanosecond()).div_euclid(NANOS_PER_MS))
    }
}

const NANOS_PER_MS: i128 = 1_000_000;

/// Every [`jiff::Timestamp`] is in range.
fn to_ms(ms: i128) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A place that keeps objects below one root. Objects are created once and never changed, but for
/// those of [`Store::put_if`].
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Creates an object; it is complete and safe on its medium when this returns, or absent.
    /// Returns its size in bytes.
    ///
    /// [`crate::ErrorKind::Conflict`] if there is one already, which stays as it is. It may be the
    /// one of an earlier call of which only the answer was lost.
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64>;

    /// Writes a small object if it is as `expected`, and returns its new version.
    ///
    /// [`crate::ErrorKind::Conflict`] if it is not, which may be due to an earlier call of which
    /// only the answer was lost; [`crate::ErrorKind::Invalid`] above [`SMALL_LEN_MAX`].
    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version>;

    /// Reads a small object with its version; `None` if there is none.
    ///
    /// [`crate::ErrorKind::Corrupt`] if it is larger than [`SMALL_LEN_MAX`].
    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>>;

    /// Whether the conditions hold when two writers meet. Where the medium knows no conditions, the
    /// store looks before it writes, and a writer in between is not seen.
    fn excludes_races(&self, size: u64) -> bool;

    /// Reads an object from `offset` to its end; `None` if there is none.
    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>>;

    /// The objects directly below `prefix` (a folder name, no trailing `/`), in the order of keys.
    /// A folder that does not exist is empty.
    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>>;

    /// All objects in all folders, in the order of keys, if one listing request tells; `None` where
    /// that takes more, and for a store that has no requests to save.
    async fn list_tree(&self, times: Times) -> Result<Option<Vec<ObjectInfo>>> {
        let _ = times;
        Ok(None)
    }

    /// The names of the folders directly below `prefix`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>>;

    /// Deletes an object; one that does not exist is no error.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Deletes objects, in as few requests as the store allows; those that do not exist are no
    /// error. After an error, any of the others may be gone.
    async fn delete_many(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// How many requests were sent; none for a store that has no requests.
    fn requests(&self) -> RequestCounts {
        RequestCounts::default()
    }

    /// Where this is, for people: never with a secret in it.
    fn describe(&self) -> String;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn times_between_milliseconds_are_before_and_by_the_right_ones() {
        let times = [(5_400_000, 5, 6), (6_000_000, 6, 6), (-5_400_000, -6, -5)];
        for (ns, begun, by) in times {
            let object = ObjectInfo {
                key: String::new(),
                size: 0,
                created: jiff::Timestamp::from_nanosecond(ns).unwrap(),
            };
            assert_eq!((object.created_ms(), object.created_by_ms()), (begun, by));
        }
    }
}
