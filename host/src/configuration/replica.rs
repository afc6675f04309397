//! Where a replica is, as a configuration has it.

use std::path::Path;

use super::reader::SettingsReader;
use crate::paths;
use crate::policy::ReplicaPlan;
use crate::secret::Secret;
use crate::settings::{ReplicaPlace, ReplicaSettings};
use crate::store::cloud::{Amazon, AzurePlace, Connectivity, Encryption, GcsPlace, S3Place};
use crate::{Error, Result};

/// The only cipher there is for keys of customers.
const CIPHER: &str = "AES256";

/// What the places of all replicas share.
pub(super) struct Surroundings<'a> {
    /// Where relative paths start.
    pub(super) base: &'a Path,
    /// The connections to stores.
    pub(super) connectivity: Connectivity,
}

pub(super) fn settings(
    database: &Path,
    plan: ReplicaPlan,
    around: &Surroundings<'_>,
) -> Result<ReplicaSettings> {
    let owner = format!("the replica of {}", database.display());
    let mut reader = SettingsReader::new(owner, plan.settings);
    let place = match plan.kind.as_str() {
        "file" => ReplicaPlace::File(match reader.words("path")? {
            Some(path) => paths::expand(&path, around.base)?,
            None => {
                return Err(Error::invalid(format!(
                    "the policy component gives the replica of {} no path",
                    database.display()
                )));
            }
        }),
        "s3" => ReplicaPlace::S3(s3(&mut reader, around)?),
        "gs" => ReplicaPlace::Gcs(gcs(&mut reader, around)?),
        "abs" => ReplicaPlace::Azure(azure(&mut reader, around)?),
        other => {
            return Err(Error::invalid(format!(
                "the policy component gives {} a replica of the kind {}, which this host does not \
                 have",
                database.display(),
                other.escape_debug()
            )));
        }
    };
    let sync_interval = reader
        .duration("sync-interval")?
        .unwrap_or(ReplicaSettings::SYNC_INTERVAL);
    // Files are sent one by one as they are sealed, and local state that does not fit the replica
    // is always replaced: there is nothing to set.
    reader.number("max-sync-ltx-files")?;
    reader.flag("auto-recover")?;
    reader.finish()?;
    Ok(ReplicaSettings {
        place,
        sync_interval,
    })
}

fn s3(reader: &mut SettingsReader, around: &Surroundings<'_>) -> Result<S3Place> {
    let size = |size: Option<u64>| size.and_then(|size| usize::try_from(size).ok());
    Ok(S3Place {
        bucket: reader.words("bucket")?.unwrap_or_default(),
        path: reader.text("path")?.unwrap_or_default(),
        endpoint: reader.words("endpoint")?,
        region: reader.words("region")?,
        force_path_style: reader.flag("force-path-style")?,
        access_key_id: reader.words("access-key-id")?.map(Secret::new),
        secret_access_key: reader.secret("secret-access-key")?,
        takes_environment: takes_environment(reader)?,
        sign_payload: reader.flag("sign-payload")?,
        require_content_md5: reader.flag("require-content-md5")?,
        skip_verify: reader.flag("skip-verify")?.unwrap_or(false),
        storage_class: reader.words("storage-class")?,
        encryption: encryption(reader, around)?,
        part_len: size(reader.number("part-size")?),
        concurrency: size(reader.number("concurrency")?),
        connectivity: around.connectivity.clone(),
        amazon: Amazon::default(),
    })
}

fn encryption(
    reader: &mut SettingsReader,
    around: &Surroundings<'_>,
) -> Result<Option<Encryption>> {
    let key = reader.secret("sse-customer-key")?;
    let file = reader.words("sse-customer-key-path")?;
    let kms = reader.words("sse-kms-key-id")?;
    let cipher = reader.words("sse-customer-algorithm")?;
    if cipher.is_some_and(|cipher| cipher != CIPHER) {
        return Err(Error::invalid(format!(
            "`sse-customer-algorithm` can only be {CIPHER}"
        )));
    }
    match (key, file, kms) {
        (None, None, None) => Ok(None),
        (Some(key), None, None) => Ok(Some(Encryption::Customer(key))),
        (None, Some(file), None) => {
            let file = paths::expand(&file, around.base)?;
            Ok(Some(Encryption::CustomerFile(file)))
        }
        (None, None, Some(id)) => Ok(Some(Encryption::Kms(id))),
        _ => Err(Error::invalid(
            "`sse-customer-key`, `sse-customer-key-path` and `sse-kms-key-id` exclude each other: \
             keep one",
        )),
    }
}

fn gcs(reader: &mut SettingsReader, around: &Surroundings<'_>) -> Result<GcsPlace> {
    Ok(GcsPlace {
        bucket: reader.words("bucket")?.unwrap_or_default(),
        path: reader.text("path")?.unwrap_or_default(),
        service_account: reader.secret("service-account")?,
        takes_environment: takes_environment(reader)?,
        connectivity: around.connectivity.clone(),
    })
}

fn azure(reader: &mut SettingsReader, around: &Surroundings<'_>) -> Result<AzurePlace> {
    let container = reader.words("bucket")?.unwrap_or_default();
    let Some(account) = reader.words("account-name")? else {
        return Err(Error::invalid(format!(
            "the Azure replica in {container} has no account: set `account-name`, or write it before \
             the container in the URL: abs://ACCOUNT@{container}/…"
        )));
    };
    Ok(AzurePlace {
        account,
        container,
        path: reader.text("path")?.unwrap_or_default(),
        endpoint: reader.words("endpoint")?,
        account_key: reader.secret("account-key")?,
        sas_token: reader.secret("sas-token")?,
        takes_environment: takes_environment(reader)?,
        connectivity: around.connectivity.clone(),
    })
}

fn takes_environment(reader: &mut SettingsReader) -> Result<bool> {
    Ok(reader.flag("use-platform-credentials")?.unwrap_or(false))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::Configuration;
    use crate::policy::{Component, PolicySource};

    fn read(replica: &str) -> Result<Configuration> {
        let component = Component::load(&PolicySource::Embedded).unwrap();
        let text = format!("dbs: [{{path: app.db, replica: {replica}}}]");
        Configuration::read(&text, &component, Path::new("/srv"))
    }

    #[test]
    fn a_place_is_the_same_by_its_url_and_by_its_keys() {
        let s3 = "access-key-id: a, secret-access-key: b";
        let key = "account-key: 'Y2FuYXJ5'";
        let json = r#"service-account: '{"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}'"#;
        for (url, keys, more, expected) in [
            (
                "s3://b/p/q",
                "type: s3, bucket: b, path: p/q",
                s3,
                "s3://b/p/q",
            ),
            ("s3://b/", "type: s3, bucket: b", s3, "s3://b/"),
            ("gs://b/p", "type: gs, bucket: b, path: p", json, "gs://b/p"),
            (
                "abs://a@c/p",
                "type: abs, account-name: a, bucket: c, path: p",
                key,
                "abs://a@c/p",
            ),
        ] {
            for place in [format!("url: '{url}'"), keys.to_owned()] {
                let configuration = read(&format!("{{{place}, {more}}}")).unwrap();
                assert_eq!(configuration.diagnostics(), [], "{place}");
                let replica = configuration.replica_of(Path::new("/srv/app.db")).unwrap();
                assert_eq!(replica.to_string(), expected, "{place}");
            }
        }
    }

    #[test]
    fn a_configuration_never_prints_its_secrets() {
        for replica in [
            "{url: 's3://b/p', access-key-id: a, secret-access-key: canary}",
            "{url: 's3://b/p', access-key-id: a, secret-access-key: b, sse-customer-key: canary}",
            "{url: 'abs://a@c/p', account-key: canary}",
            "{url: 'abs://a@c/p', sas-token: canary}",
            "{url: 'gs://b/p', service-account: canary}",
        ] {
            let configuration = read(replica).unwrap();
            let opened = configuration.replica_of(Path::new("/srv/app.db"));
            let shown = format!("{configuration:?} {opened:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (replica, expected) in [
            (
                "{url: 's3://b/p', sse-kms-key-id: k, sse-customer-key: c}",
                "exclude each other",
            ),
            ("{url: 's3://b/p', sse-customer-algorithm: DES}", "AES256"),
            ("{url: 'abs://c/p', account-key: k}", "`account-name`"),
        ] {
            let error = read(replica).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
