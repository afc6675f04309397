//! In which region a bucket of Amazon is, where the configuration does not say: whoever looks for a
//! bucket in another one is told.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use tokio::sync::OnceCell;

use super::RequestCounts;
use super::http::Wire;
use super::s3::S3Place;
use crate::store::object::ObjectStoreAdapter;
use crate::store::{Body, Expected, ObjectInfo, Store, Times, Version};
use crate::{Error, Result};

/// Tells the region, whoever asks and whatever else the answer says.
pub(super) const HEADER: &str = "x-amz-bucket-region";

/// The regions of buckets that were found out, for all databases of a configuration.
#[derive(Debug, Default)]
pub(super) struct Regions(Mutex<HashMap<String, Arc<OnceCell<String>>>>);

impl Regions {
    fn of(&self, bucket: &str) -> Arc<OnceCell<String>> {
        let mut regions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(regions.entry(bucket.to_owned()).or_default())
    }
}

/// A store in a bucket of Amazon whose region is asked for before the first request.
pub(super) struct Located {
    place: S3Place,
    wire: Wire,
    regions: Arc<Regions>,
    /// As it would be in the usual region, for what needs no request.
    guess: ObjectStoreAdapter,
    found: OnceCell<ObjectStoreAdapter>,
}

impl Located {
    pub(super) fn new(
        place: S3Place,
        wire: Wire,
        regions: Arc<Regions>,
        guess: ObjectStoreAdapter,
    ) -> Self {
        Self {
            place,
            wire,
            regions,
            guess,
            found: OnceCell::new(),
        }
    }

    fn now(&self) -> &ObjectStoreAdapter {
        self.found.get().unwrap_or(&self.guess)
    }

    /// Each of these asks again until there is an answer.
    async fn store(&self) -> Result<&ObjectStoreAdapter> {
        let find = async {
            let region = self.regions.of(&self.place.bucket);
            let region = region.get_or_try_init(|| self.ask()).await?;
            self.place.adapter(region, self.wire.clone())
        };
        self.found.get_or_try_init(|| find).await
    }

    async fn ask(&self) -> Result<String> {
        let bucket = &self.place.bucket;
        let unknown = || {
            Error::unavailable(format!(
                "cannot find out in which region the bucket {bucket} is: set `region`"
            ))
        };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::HEAD;
        let url = self.place.amazon.bucket_of_any_region(bucket);
        *request.uri_mut() = url.parse().map_err(|error| unknown().with_source(error))?;
        let answer = HttpClient::new(self.wire.clone()).execute(request).await;
        let answer = answer.map_err(|error| unknown().with_source(error))?;
        let region = answer.headers().get(HEADER);
        let region = region.and_then(|region| region.to_str().ok());
        match region {
            Some(region) if super::check_word("region", region).is_ok() => {
                tracing::info!(%bucket, region, "the region of a bucket was found out");
                Ok(region.to_owned())
            }
            None if answer.status() == StatusCode::NOT_FOUND => Err(Error::unavailable(format!(
                "the bucket {bucket} does not exist: create it, or correct `bucket`"
            ))),
            _ => Err(unknown().with_source(format!("Amazon answers {}", answer.status()))),
        }
    }
}

#[async_trait]
impl Store for Located {
    async fn put(&self, key: &str, created_ms: i64, body: Body) -> Result<u64> {
        self.store().await?.put(key, created_ms, body).await
    }

    async fn put_if(&self, key: &str, bytes: Bytes, expected: Expected<'_>) -> Result<Version> {
        self.store().await?.put_if(key, bytes, expected).await
    }

    async fn get_small(&self, key: &str) -> Result<Option<(Bytes, Version)>> {
        self.store().await?.get_small(key).await
    }

    fn excludes_races(&self, size: u64) -> bool {
        self.now().excludes_races(size)
    }

    async fn get(&self, key: &str, offset: u64) -> Result<Option<Body>> {
        self.store().await?.get(key, offset).await
    }

    async fn list(&self, prefix: &str, times: Times) -> Result<Vec<ObjectInfo>> {
        self.store().await?.list(prefix, times).await
    }

    async fn list_tree(&self, times: Times) -> Result<Option<Vec<ObjectInfo>>> {
        self.store().await?.list_tree(times).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.store().await?.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.store().await?.delete(key).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<()> {
        self.store().await?.delete_many(keys).await
    }

    fn requests(&self) -> RequestCounts {
        self.now().requests()
    }

    fn describe(&self) -> String {
        self.now().describe()
    }
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Located").field(self.now()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
