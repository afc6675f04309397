//! Buckets of Amazon S3 and of services that speak its protocol.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use lockkeeper_core::s3::{Provider, endpoint_url, is_private};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::http::{Connectivity, Wire};
use super::region::Located;
use super::{below, check_url, check_word, environment, parse_root, retry};
use crate::secret::Secret;
use crate::store::object::{Bucket, ObjectStoreAdapter, UploadLimits};
use crate::store::{Layout, Replica, Store};
use crate::{Error, Result};

/// The base64 of 32 bytes, in letters.
const KEY_LEN: usize = 44;
/// The longest file with a key.
const KEY_FILE_LEN_MAX: u64 = 4096;

/// Where a replica is in S3.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct S3Place {
    pub(crate) bucket: String,
    /// What comes before the level in every key, as Litestream takes it: as it stands, so that
    /// every key begins with a slash if it is empty.
    pub(crate) path: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) force_path_style: Option<bool>,
    pub(crate) access_key_id: Option<Secret>,
    pub(crate) secret_access_key: Option<Secret>,
    pub(crate) takes_environment: bool,
    pub(crate) sign_payload: Option<bool>,
    pub(crate) require_content_md5: Option<bool>,
    pub(crate) skip_verify: bool,
    pub(crate) storage_class: Option<String>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) part_len: Option<usize>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) connectivity: Connectivity,
    pub(crate) amazon: Amazon,
}

/// Where Amazon has its servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Amazon {
    #[default]
    Itself,
    /// All of them are one, at this URL.
    #[cfg(test)]
    At(String),
}

impl Amazon {
    /// The server of a region.
    fn endpoint(&self, region: &str) -> String {
        match self {
            Self::Itself => format!("https://s3.{region}.amazonaws.com"),
            #[cfg(test)]
            Self::At(url) => format!("{url}/{region}"),
        }
    }

    /// A bucket at the server that knows all regions.
    pub(super) fn bucket_of_any_region(&self, bucket: &str) -> String {
        match self {
            Self::Itself => format!("https://s3.amazonaws.com/{bucket}"),
            #[cfg(test)]
            Self::At(url) => format!("{url}/any/{bucket}"),
        }
    }
}

/// A key that the service encrypts with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Encryption {
    /// One that is sent with every request: 32 bytes in base64.
    Customer(Secret),
    /// The same, in a file.
    CustomerFile(PathBuf),
    /// One that the service keeps, by its name.
    Kms(String),
}

impl S3Place {
    /// The replica. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`] if something is missing or contradicts something else.
    pub(crate) fn open(&self) -> Result<Replica> {
        let provider = self.provider();
        let wire = Wire {
            pool: self.connectivity.pool(self.skip_verify)?,
            counters: Arc::default(),
            header: (provider == Provider::Tigris).then(|| {
                let name = HeaderName::from_static("x-tigris-consistent");
                (name, HeaderValue::from_static("true"))
            }),
        };
        let region = self.region.as_deref();
        let region = region.unwrap_or_else(|| provider.default_region());
        let store = self.adapter(region, wire.clone())?;
        let store: Arc<dyn Store> = if self.region.is_some() || self.endpoint.is_some() {
            Arc::new(store)
        } else {
            let regions = self.connectivity.regions();
            Arc::new(Located::new(self.clone(), wire, regions, store))
        };
        Ok(Replica::new(store, Layout::S3))
    }

    fn provider(&self) -> Provider {
        Provider::of(self.endpoint.as_deref().map(endpoint_url).as_deref())
    }

    /// The store in a region.
    ///
    /// # Errors
    ///
    /// As [`S3Place::open`].
    pub(super) fn adapter(&self, region: &str, wire: Wire) -> Result<ObjectStoreAdapter> {
        let endpoint = self.endpoint.as_deref().map(endpoint_url);
        let provider = self.provider();
        let begins_with_slash = self.path.is_empty() || self.path.starts_with('/');
        let root = match self.path.strip_prefix('/') {
            Some("") => parse_root("/")?,
            Some(rest) => parse_root(rest)?,
            None => parse_root(&self.path)?,
        };
        let url = self.bucket_url(region, endpoint.as_deref(), begins_with_slash);
        check_url("endpoint", &url)?;
        for (setting, text) in [
            ("bucket", Some(self.bucket.as_str())),
            ("region", Some(region)),
            (
                "access-key-id",
                self.access_key_id.as_ref().map(Secret::expose),
            ),
            ("storage-class", self.storage_class.as_deref()),
        ] {
            check_word(setting, text.unwrap_or_default())?;
        }
        let counters = Arc::clone(&wire.counters);
        let signs = provider.needs_signed_payload() || self.sign_payload != Some(false);
        // A checksum goes with every deletion of many, so who wants none deletes one by one. So
        // does who has a slash before every key, which that request would leave out.
        let deletes_many = provider.deletes_in_batches()
            && !begins_with_slash
            && self.require_content_md5 != Some(false);
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_endpoint(url)
            .with_virtual_hosted_style_request(true)
            .with_unsigned_payload(!signs)
            .with_disable_bulk_delete(!deletes_many)
            .with_retry(retry())
            .with_http_connector(wire);
        let builder = self.with_encryption(builder, endpoint.as_deref())?;
        let client = self.with_credentials(builder)?.build().map_err(|error| {
            Error::invalid(format!("the S3 replica in {} cannot be used", self.bucket))
                .with_source(error)
        })?;
        let client = Arc::new(client);
        let default = UploadLimits::default();
        let bucket = Bucket {
            pages: Some(Arc::clone(&client) as _),
            begins_with_slash,
            upload: UploadLimits {
                part_len: self.part_len.unwrap_or(default.part_len),
                concurrency: self.concurrency.unwrap_or(provider.concurrency()),
            },
            storage_class: self.storage_class.clone(),
            conditions: provider.conditions(),
            place: format!("s3://{}", self.bucket),
            counters,
            ..Bucket::new(client)
        };
        Ok(ObjectStoreAdapter::below(bucket, root))
    }

    /// What tells this place from all others.
    pub(crate) fn name(&self) -> PathBuf {
        let server = self.endpoint.as_deref().map(endpoint_url);
        let server = server
            .as_deref()
            .map_or("", |url| url.trim_start_matches("https://"));
        PathBuf::from(format!("s3:{server}/{}/{}", self.bucket, self.path))
    }

    /// The same, further down.
    pub(crate) fn below(&self, relative: &Path) -> Self {
        Self {
            path: below(&self.path, relative),
            ..self.clone()
        }
    }

    /// What the client puts a slash and a key after.
    fn bucket_url(&self, region: &str, endpoint: Option<&str>, slash: bool) -> String {
        let own = self.amazon.endpoint(region);
        let endpoint = endpoint.unwrap_or(&own);
        // A certificate for the names of all buckets does not cover one with dots in it.
        let in_path = self.force_path_style == Some(true)
            || self.provider().needs_path_style()
            || self.bucket.contains('.');
        let mut url = match endpoint.split_once("://") {
            Some((scheme, host)) if !in_path => format!("{scheme}://{}.{host}", self.bucket),
            _ => format!("{endpoint}/{}", self.bucket),
        };
        if slash {
            url.push('/');
        }
        url
    }

    fn with_credentials(&self, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(key)) => Ok(builder
                .with_access_key_id(id.expose())
                .with_secret_access_key(key.expose())),
            (None, None) if self.takes_environment => {
                let set = environment::set(&environment::AMAZON);
                Ok(set.fold(builder, |builder, (name, value)| {
                    match name.parse::<AmazonS3ConfigKey>() {
                        Ok(key) => builder.with_config(key, value),
                        Err(_) => builder,
                    }
                }))
            }
            _ => Err(Error::invalid(format!(
                "the S3 replica in {} has no credentials: set `access-key-id` and \
                 `secret-access-key`, or `use-platform-credentials: true` for those of the machine",
                self.bucket
            ))),
        }
    }

    fn with_encryption(
        &self,
        builder: AmazonS3Builder,
        endpoint: Option<&str>,
    ) -> Result<AmazonS3Builder> {
        let key = match &self.encryption {
            None => return Ok(builder),
            Some(Encryption::Kms(id)) => return Ok(builder.with_sse_kms_encryption(id)),
            Some(Encryption::Customer(key)) => key.clone(),
            Some(Encryption::CustomerFile(path)) => read_key(path)?,
        };
        if key.expose().len() != KEY_LEN || !key.expose().ends_with('=') {
            return Err(Error::invalid(
                "`sse-customer-key` is not the base64 of 32 bytes",
            ));
        }
        if !endpoint.is_none_or(is_private) {
            return Err(Error::invalid(
                "`sse-customer-key` would travel unencrypted: use an `https://` endpoint",
            ));
        }
        Ok(builder.with_ssec_encryption(key.expose()))
    }
}

/// A key is text, with nothing around it but white space.
fn read_key(path: &Path) -> Result<Secret> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        Error::invalid(format!(
            "cannot read the key in {}: correct `sse-customer-key-path`",
            path.display()
        ))
        .with_source(error)
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text);
    read.map_err(failed)?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn place() -> S3Place {
        S3Place {
            bucket: "b".into(),
            path: "p".into(),
            access_key_id: Some(Secret::new("id".into())),
            secret_access_key: Some(Secret::new("canary-key".into())),
            ..S3Place::default()
        }
    }

    #[test]
    fn a_bucket_is_part_of_the_host_or_of_the_path() {
        for (bucket, endpoint, style, slash, url) in [
            (
                "b",
                None,
                None,
                false,
                "https://b.s3.us-east-1.amazonaws.com",
            ),
            (
                "b",
                None,
                Some(true),
                false,
                "https://s3.us-east-1.amazonaws.com/b",
            ),
            (
                "b.c",
                None,
                None,
                false,
                "https://s3.us-east-1.amazonaws.com/b.c",
            ),
            (
                "b",
                None,
                None,
                true,
                "https://b.s3.us-east-1.amazonaws.com/",
            ),
            (
                "b",
                Some("https://x.org"),
                Some(false),
                false,
                "https://b.x.org",
            ),
            (
                "b",
                Some("http://[::1]:9000"),
                Some(false),
                true,
                "http://[::1]:9000/b/",
            ),
        ] {
            let place = S3Place {
                bucket: bucket.into(),
                endpoint: endpoint.map(str::to_owned),
                force_path_style: style,
                ..place()
            };
            assert_eq!(place.bucket_url("us-east-1", endpoint, slash), url);
        }
    }

    #[test]
    fn a_key_begins_with_a_slash_as_litestream_writes_it() {
        let described = |path: &str| {
            let place = S3Place {
                path: path.into(),
                ..place()
            };
            place.open().unwrap().to_string()
        };
        assert_eq!(described(""), "s3://b/");
        assert_eq!(described("p/q"), "s3://b/p/q");
        assert_eq!(described("/p"), "s3://b//p");
        let double = S3Place {
            path: "/".into(),
            ..place()
        };
        assert!(double.open().is_err());
        assert_eq!(below("", Path::new("a.db")), "/a.db");
        assert_eq!(below("p", Path::new("x/a.db")), "p/x/a.db");
    }

    #[test]
    fn nothing_is_taken_from_the_environment_unless_it_is_asked_for() {
        let bare = S3Place {
            access_key_id: None,
            secret_access_key: None,
            ..place()
        };
        let error = bare.open().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("`access-key-id`"), "{error}");
        let platform = S3Place {
            takes_environment: true,
            ..bare
        };
        assert!(platform.open().is_ok());
    }

    #[test]
    fn a_key_of_the_customer_does_not_travel_unencrypted() {
        let with = |endpoint: &str| S3Place {
            endpoint: Some(endpoint.into()),
            encryption: Some(Encryption::Customer(Secret::new(
                "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into(),
            ))),
            ..place()
        };
        assert!(with("https://example.com").open().is_ok());
        assert!(with("http://127.0.0.1:1").open().is_ok());
        let error = with("http://example.com").open().unwrap_err();
        assert!(error.to_string().contains("https"), "{error}");
        let short = S3Place {
            encryption: Some(Encryption::Customer(Secret::new("MDEyMw==".into()))),
            ..place()
        };
        let error = short.open().unwrap_err();
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }

    #[test]
    fn a_place_never_prints_its_secrets() {
        let shown = format!("{:?} {:?}", place(), place().open().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
