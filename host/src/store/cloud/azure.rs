//! Containers of Azure Blob Storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockkeeper_core::s3::endpoint_url;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::http::{Connectivity, Wire};
use super::{below, check_url, check_word, environment, parse_root, retry};
use crate::secret::Secret;
use crate::store::object::{Bucket, ObjectStoreAdapter};
use crate::store::{Layout, Replica};
use crate::{Error, Result};

/// Name of the metadata that holds the creation time, as Litestream writes it: Azure takes no
/// hyphen in names.
const TIMESTAMP_KEY: &str = "litestreamtimestamp";
/// The access tier of new objects, whatever the account has as its default.
const TIER: &str = "Hot";

/// Where a replica is in Azure Blob Storage.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct AzurePlace {
    pub(crate) account: String,
    pub(crate) container: String,
    pub(crate) path: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) account_key: Option<Secret>,
    /// Wins over the key.
    pub(crate) sas_token: Option<Secret>,
    pub(crate) takes_environment: bool,
    pub(crate) connectivity: Connectivity,
}

impl AzurePlace {
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
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_retry(retry())
            .with_http_connector(wire);
        check_word("account-name", &self.account)?;
        check_word("bucket", &self.container)?;
        if let Some(endpoint) = &self.endpoint {
            let url = endpoint_url(endpoint);
            check_url("endpoint", &url)?;
            builder = builder.with_endpoint(url);
        }
        // What the client says of a key that it cannot read may quote it.
        let client = self.with_credentials(builder)?.build().map_err(|_| {
            Error::invalid(format!(
                "the Azure replica in {} cannot be used: check `account-key` (base64), `sas-token` \
                 and `endpoint`",
                self.container
            ))
        })?;
        let client = Arc::new(client);
        let bucket = Bucket {
            pages: Some(Arc::clone(&client) as _),
            timestamp_key: TIMESTAMP_KEY,
            storage_class: Some(TIER.to_owned()),
            place: format!("abs://{}@{}", self.account, self.container),
            counters,
            ..Bucket::new(client)
        };
        let store = ObjectStoreAdapter::below(bucket, root);
        Ok(Replica::new(Arc::new(store), Layout::Standard))
    }

    /// What tells this place from all others.
    pub(crate) fn name(&self) -> PathBuf {
        let server = self.endpoint.as_deref().unwrap_or_default();
        PathBuf::from(format!(
            "abs:{server}/{}/{}/{}",
            self.account, self.container, self.path
        ))
    }

    /// The same, further down.
    pub(crate) fn below(&self, relative: &Path) -> Self {
        let path = below(&self.path, relative);
        Self {
            path: path.trim_start_matches('/').to_owned(),
            ..self.clone()
        }
    }

    fn with_credentials(&self, builder: MicrosoftAzureBuilder) -> Result<MicrosoftAzureBuilder> {
        match (&self.sas_token, &self.account_key) {
            (Some(token), _) => Ok(builder.with_config(AzureConfigKey::SasKey, token.expose())),
            (None, Some(key)) => Ok(builder.with_access_key(key.expose())),
            (None, None) if self.takes_environment => {
                let set = environment::set(&environment::AZURE);
                Ok(set.fold(builder, |builder, (name, value)| {
                    match name.parse::<AzureConfigKey>() {
                        Ok(key) => builder.with_config(key, value),
                        Err(_) => builder,
                    }
                }))
            }
            (None, None) => Err(Error::invalid(format!(
                "the Azure replica in {} has no credentials: set `account-key` or `sas-token`, or \
                 `use-platform-credentials: true` for those of the machine",
                self.container
            ))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn place(key: Option<&str>, token: Option<&str>) -> AzurePlace {
        let secret = |text: &str| Secret::new(text.to_owned());
        AzurePlace {
            account: "acct".into(),
            container: "box".into(),
            path: "p".into(),
            account_key: key.map(secret),
            sas_token: token.map(secret),
            ..AzurePlace::default()
        }
    }

    #[test]
    fn a_key_or_a_token_is_needed_and_neither_is_shown() {
        let error = place(None, None).open().unwrap_err().to_string();
        assert!(error.contains("`account-key`"), "{error}");
        let error = place(Some("canary!"), None).open().unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("base64") && !error.contains("canary"),
            "{error}"
        );
        for replica in [
            place(Some("Y2FuYXJ5"), None).open().unwrap(),
            place(None, Some("?sv=1&sig=canary")).open().unwrap(),
        ] {
            assert_eq!(replica.to_string(), "abs://acct@box/p");
            let shown = format!("{replica:?}");
            assert!(
                !shown.contains("canary") && !shown.contains("Y2Fu"),
                "{shown}"
            );
        }
        let shown = format!("{:?}", place(Some("canary"), Some("canary")));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
