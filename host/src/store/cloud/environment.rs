//! Credentials of the platform, for configurations that ask for them.
//!
//! Nothing else is taken from the environment: neither the endpoint nor any other setting.

/// Variables that say who this is on Amazon, as Litestream and Amazon's own tools know them; the
/// later win.
pub(super) const AMAZON: [&str; 13] = [
    "LITESTREAM_ACCESS_KEY_ID",
    "LITESTREAM_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// The same for Azure.
pub(super) const AZURE: [&str; 11] = [
    "LITESTREAM_AZURE_ACCOUNT_KEY",
    "LITESTREAM_AZURE_SAS_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_USE_AZURE_CLI",
];

/// The file with the credentials of an application on Google's cloud.
pub(super) const GOOGLE_FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Those of `names` that are set: what the client calls them, and their values.
pub(super) fn set<'a>(names: &'a [&'a str]) -> impl Iterator<Item = (String, String)> + 'a {
    names.iter().filter_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((client_name(name), value))
    })
}

fn client_name(name: &str) -> String {
    let ours = name.strip_prefix("LITESTREAM_");
    let name = ours.map_or(name, |name| name.trim_start_matches("AZURE_"));
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;
    use object_store::azure::AzureConfigKey;

    use super::*;

    #[test]
    fn the_client_knows_every_name() {
        for name in AMAZON {
            let found: Result<AmazonS3ConfigKey, _> = client_name(name).parse();
            assert!(found.is_ok(), "{name}");
        }
        for name in AZURE {
            let found: Result<AzureConfigKey, _> = client_name(name).parse();
            assert!(found.is_ok(), "{name}");
        }
    }
}
