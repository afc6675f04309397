//! What differs between the services that speak the protocol of Amazon S3.

use std::net::IpAddr;

/// Uploads of parts at a time, where nothing else is known.
const CONCURRENCY: usize = 5;
/// Cloudflare R2 answers more with errors.
const CONCURRENCY_R2: usize = 2;

/// Who runs a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Provider {
    /// Amazon itself.
    Amazon,
    /// Backblaze B2.
    Backblaze,
    /// Cloudflare R2.
    Cloudflare,
    /// DigitalOcean Spaces.
    DigitalOcean,
    /// Filebase.
    Filebase,
    /// Google Cloud Storage, by its interface for S3 clients.
    Google,
    /// Hetzner Object Storage.
    Hetzner,
    /// Scaleway Object Storage.
    Scaleway,
    /// Supabase Storage.
    Supabase,
    /// Tigris.
    Tigris,
    /// A server with a port of its own, such as MinIO or SeaweedFS.
    SelfHosted,
    /// Anybody else.
    Other,
}

/// What is known of a service and writes that depend on what is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conditions {
    /// It promises to keep to them.
    Kept,
    /// It has to prove it: some servers take the header and ignore it.
    Unproven,
    /// It has none.
    Absent,
}

impl Provider {
    /// Who answers at `endpoint`, a URL; Amazon where there is none.
    ///
    /// # Example
    ///
    /// ```
    /// use lockkeeper_core::s3::{Provider, endpoint_url, is_private};
    ///
    /// let amazon = Provider::of(None);
    /// println!("{} parts at a time in {}", amazon.concurrency(), amazon.default_region());
    /// println!("conditions: {:?}", amazon.conditions());
    /// let server = Provider::of(Some("http://127.0.0.1:9000"));
    /// println!("paths: {}, ", server.needs_path_style());
    /// println!("signed: {}, ", server.needs_signed_payload());
    /// println!("batches: {}", server.deletes_in_batches());
    /// assert!(is_private("http://127.0.0.1:9000"));
    /// assert_eq!(endpoint_url("localhost:9000"), "http://localhost:9000");
    /// ```
    #[must_use]
    pub fn of(endpoint: Option<&str>) -> Self {
        let Some(endpoint) = endpoint else {
            return Self::Amazon;
        };
        let authority = authority(endpoint);
        let (host, port) = host_and_port(authority);
        let host = host.to_ascii_lowercase();
        let is_at = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let known = [
            ("amazonaws.com", Self::Amazon),
            ("amazonaws.com.cn", Self::Amazon),
            ("backblazeb2.com", Self::Backblaze),
            ("r2.cloudflarestorage.com", Self::Cloudflare),
            ("digitaloceanspaces.com", Self::DigitalOcean),
            ("filebase.com", Self::Filebase),
            ("filebase.io", Self::Filebase),
            ("storage.googleapis.com", Self::Google),
            ("your-objectstorage.com", Self::Hetzner),
            ("scw.cloud", Self::Scaleway),
            ("supabase.co", Self::Supabase),
            ("fly.storage.tigris.dev", Self::Tigris),
            ("t3.storage.dev", Self::Tigris),
        ];
        let found = known.iter().find(|(domain, _)| is_at(domain));
        match found {
            Some((_, provider)) => *provider,
            None if port.is_some() => Self::SelfHosted,
            None => Self::Other,
        }
    }

    /// Parts of one upload that are sent at a time.
    #[must_use]
    pub fn concurrency(self) -> usize {
        match self {
            Self::Cloudflare => CONCURRENCY_R2,
            _ => CONCURRENCY,
        }
    }

    /// Whether it insists on a signature over what is sent.
    #[must_use]
    pub fn needs_signed_payload(self) -> bool {
        !matches!(self, Self::Amazon | Self::Other)
    }

    /// Whether it finds a bucket only by the path of a request, not by its host.
    #[must_use]
    pub fn needs_path_style(self) -> bool {
        matches!(
            self,
            Self::Backblaze | Self::Filebase | Self::SelfHosted | Self::Supabase
        )
    }

    /// Whether it deletes many objects in one request.
    #[must_use]
    pub fn deletes_in_batches(self) -> bool {
        !matches!(self, Self::Google)
    }

    /// What is known of its conditional writes.
    #[must_use]
    pub fn conditions(self) -> Conditions {
        match self {
            Self::Amazon | Self::Cloudflare => Conditions::Kept,
            // Its conditions have names of their own, which the S3 interface does not send.
            Self::Google => Conditions::Absent,
            _ => Conditions::Unproven,
        }
    }

    /// The region that requests are signed for, where none is configured.
    #[must_use]
    pub fn default_region(self) -> &'static str {
        match self {
            Self::Cloudflare | Self::Tigris | Self::Google => "auto",
            _ => "us-east-1",
        }
    }
}

/// An endpoint as a URL: a bare host gets the scheme that fits it, and no slash stays at the end.
///
/// # Example
///
/// ```
/// use lockkeeper_core::s3::endpoint_url;
/// assert_eq!(endpoint_url("localhost:9000"), "http://localhost:9000");
/// assert_eq!(endpoint_url("s3.example.com/"), "https://s3.example.com");
/// ```
#[must_use]
pub fn endpoint_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    let scheme = if is_near(host_and_port(authority(endpoint)).0) {
        "http"
    } else {
        "https"
    };
    format!("{scheme}://{endpoint}")
}

/// Whether a secret may travel to `endpoint`: it is encrypted on its way, or does not leave the
/// local network.
#[must_use]
pub fn is_private(endpoint: &str) -> bool {
    endpoint.starts_with("https://") || is_near(host_and_port(authority(endpoint)).0)
}

/// Whether a host is on this machine or on the local network, by its name.
fn is_near(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local") {
        return true;
    }
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => false,
    }
}

/// The host and port of a URL, with or without its scheme.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_its_host() {
        for (endpoint, provider) in [
            ("https://s3.eu-west-1.amazonaws.com", Provider::Amazon),
            (
                "https://s3.us-west-002.backblazeb2.com",
                Provider::Backblaze,
            ),
            ("https://x.r2.cloudflarestorage.com", Provider::Cloudflare),
            (
                "https://nyc3.digitaloceanspaces.com",
                Provider::DigitalOcean,
            ),
            ("https://s3.filebase.com", Provider::Filebase),
            ("https://storage.googleapis.com", Provider::Google),
            ("https://fsn1.your-objectstorage.com", Provider::Hetzner),
            ("https://s3.fr-par.scw.cloud", Provider::Scaleway),
            ("https://x.supabase.co/storage/v1/s3", Provider::Supabase),
            ("https://fly.storage.tigris.dev", Provider::Tigris),
            ("https://T3.storage.dev", Provider::Tigris),
            ("http://127.0.0.1:9000", Provider::SelfHosted),
            ("http://[::1]:9000", Provider::SelfHosted),
            ("https://minio.example.com", Provider::Other),
            ("https://notamazonaws.com", Provider::Other),
        ] {
            assert_eq!(Provider::of(Some(endpoint)), provider, "{endpoint}");
        }
        assert_eq!(Provider::of(None), Provider::Amazon);
    }

    #[test]
    fn a_bare_host_is_encrypted_unless_it_is_near() {
        for (host, url) in [
            ("localhost:9000", "http://localhost:9000"),
            ("10.1.2.3", "http://10.1.2.3"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("nas.local", "http://nas.local"),
            ("8.8.8.8:9000", "https://8.8.8.8:9000"),
            ("example.com/", "https://example.com"),
            ("http://example.com", "http://example.com"),
        ] {
            assert_eq!(endpoint_url(host), url);
        }
    }

    #[test]
    fn a_secret_does_not_travel_unencrypted() {
        assert!(is_private("https://example.com"));
        assert!(is_private("http://192.168.1.1:9000"));
        assert!(!is_private("http://example.com"));
        assert!(!is_private("http://8.8.8.8"));
    }
}
