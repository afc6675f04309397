//! Where replicas live.

mod conformance;
mod file;
mod key;
mod object;
mod reading;
mod replica;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::Result;

#[doc(hidden)]
pub use conformance::conformance;
pub use file::FileStore;
pub use lockkeeper_core::inventory::ReplicaFile;
pub use lockkeeper_ltx::{FileName, Level, Txid, TxidRange};
pub use object::ObjectStoreAdapter;
pub(crate) use reading::{FetchError, Source, Wanted};
pub use replica::{Layout, Replica, body_from_bytes, body_from_file};

/// Bytes on their way to or from a store.
pub type Body = BoxStream<'static, std::io::Result<Bytes>>;

/// One object of a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectInfo {
    /// Key below the root of the replica, with `/` between its parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When its content was sealed, in milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// A place that keeps objects below one root. Objects are created once and never changed.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Writes an object; it is complete and safe on its medium when this returns, or absent.
    /// Returns its size in bytes.
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64>;

    /// Reads an object from `offset` to its end; `None` if there is none.
    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>>;

    /// The objects directly below `prefix` (a folder name, no trailing `/`), in the order of keys.
    /// A folder that does not exist is empty.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// The names of the folders directly below `prefix`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>>;

    /// Deletes an object; one that does not exist is no error.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Where this is, for people: never with a secret in it.
    fn describe(&self) -> String;
}
