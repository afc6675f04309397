//! Buckets of Google Cloud Storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::http::{Connectivity, Wire};
use super::{below, check_url, environment, parse_root, retry};
use crate::secret::Secret;
use crate::store::object::{Bucket, ObjectStoreAdapter};
use crate::store::{Layout, Replica};
use crate::{Error, Result};

/// Where a replica is in Google Cloud Storage.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct GcsPlace {
    pub(crate) bucket: String,
    pub(crate) path: String,
    /// The key of a service account: the JSON that Google gives out for it.
    pub(crate) service_account: Option<Secret>,
    pub(crate) takes_environment: bool,
    pub(crate) connectivity: Connectivity,
}

impl GcsPlace {
    /// The replica. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if something is missing.
    pub(crate) fn open(&self) -> Result<Replica> {
        let root = parse_root(&self.path)?;
        let counters = Arc::default();
        let wire = Wire {
            pool: self.connectivity.pool(false)?,
            counters: Arc::clone(&counters),
            header: None,
        };
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket)
            .with_retry(retry())
            .with_http_connector(wire);
        let builder = match &self.service_account {
            Some(key) => {
                if let Some(url) = server(key) {
                    check_url("gcs_base_url", &url)?;
                }
                builder.with_service_account_key(key.expose())
            }
            None if self.takes_environment => match std::env::var(environment::GOOGLE_FILE) {
                Ok(file) => builder.with_application_credentials(file),
                Err(_) => builder,
            },
            None => {
                return Err(Error::invalid(format!(
                    "the GCS replica in {} has no credentials: set `service-account`, or \
                     `use-platform-credentials: true` for those of the machine",
                    self.bucket
                )));
            }
        };
        // What the client says of a key that it cannot read may quote it.
        let client = builder.build().map_err(|_| {
            Error::invalid(format!(
                "the credentials of the GCS replica in {} cannot be read: `service-account` takes \
                 the key of a service account in JSON",
                self.bucket
            ))
        })?;
        let client = Arc::new(client);
        let bucket = Bucket {
            pages: Some(Arc::clone(&client) as _),
            place: format!("gs://{}", self.bucket),
            counters,
            ..Bucket::new(client)
        };
        let store = ObjectStoreAdapter::below(bucket, root);
        Ok(Replica::new(Arc::new(store), Layout::Standard))
    }

    /// What tells this place from all others.
    pub(crate) fn name(&self) -> PathBuf {
        PathBuf::from(format!("gs:{}/{}", self.bucket, self.path))
    }

    /// The same, further down.
    pub(crate) fn below(&self, relative: &Path) -> Self {
        let path = below(&self.path, relative);
        Self {
            path: path.trim_start_matches('/').to_owned(),
            ..self.clone()
        }
    }
}

/// The server that a key names, if it is not Google's own.
fn server(key: &Secret) -> Option<String> {
    let key: serde_json::Value = serde_json::from_str(key.expose()).ok()?;
    Some(key.get("gcs_base_url")?.as_str()?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_read_is_not_quoted() {
        for text in ["\"canary\"", "canary", "{\"private_key\": \"canary\"}"] {
            let place = GcsPlace {
                bucket: "b".into(),
                service_account: Some(Secret::new(text.into())),
                ..GcsPlace::default()
            };
            let error = place.open().unwrap_err().to_string();
            assert!(error.contains("`service-account`"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_server_that_is_none_is_refused() {
        let key = r#"{"gcs_base_url": "nonsense", "disable_oauth": true, "client_email": "",
            "private_key": "", "private_key_id": ""}"#;
        let place = GcsPlace {
            bucket: "b".into(),
            service_account: Some(Secret::new(key.into())),
            ..GcsPlace::default()
        };
        let error = place.open().unwrap_err().to_string();
        assert!(error.contains("`gcs_base_url`"), "{error}");
    }

    #[test]
    fn credentials_are_asked_for_and_not_looked_for() {
        let place = GcsPlace {
            bucket: "b".into(),
            ..GcsPlace::default()
        };
        let error = place.open().unwrap_err().to_string();
        assert!(error.contains("`service-account`"), "{error}");
        let below = place.below(Path::new("x/a.db"));
        assert_eq!(below.path, "x/a.db");
    }
}
