//! The application's own configuration: TOML, encrypted in its database.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockkeeper::config::{APPLICATION_SCOPE, ConfigStore, Identities, LITESTREAM_SCOPE};
use serde::Deserialize;

const ADDRESS_DEFAULT: &str = ":8080";
const SHUTDOWN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// Nobody waits longer; keeps the end within what a clock can count.
const SHUTDOWN_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// What the web server needs to know.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    /// Where to listen, as `HOST:PORT` or `:PORT`.
    pub(crate) addr: String,
    /// How long ending may take, with everything that is still to be sent.
    pub(crate) shutdown_timeout: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    server: Server,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Server {
    addr: Option<String>,
    shutdown_graceful_timeout: Option<String>,
}

impl Settings {
    /// Reads the scope `application`, and makes sure that there is a scope `litestream`.
    ///
    /// # Errors
    ///
    /// If the key opens neither, or there is nothing to replicate by; says what to do.
    pub(crate) fn load(dbpath: &Path, identities: &Identities) -> Result<Self> {
        let store = ConfigStore::open(dbpath)?;
        let scopes = store.scopes()?;
        let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
        if !has(LITESTREAM_SCOPE) {
            bail!(
                "no configuration for scope '{LITESTREAM_SCOPE}' in {db}: save one with \
                 `lockkeeper -age-key {key} -dbpath {db} config save -scope {LITESTREAM_SCOPE} \
                 litestream.yml`",
                db = dbpath.display(),
                key = identities.path().display(),
            );
        }
        if !has(APPLICATION_SCOPE) {
            return Self::parse(b"");
        }
        let entry = store.get(identities, APPLICATION_SCOPE, 0)?;
        if let Some(warning) = entry.warning() {
            // The log starts later.
            eprintln!("warning: {warning}");
        }
        Self::parse(&entry.plaintext)
            .with_context(|| format!("the configuration of scope '{APPLICATION_SCOPE}'"))
    }

    fn parse(toml: &[u8]) -> Result<Self> {
        // What the parser says quotes the text, which may hold a secret.
        let Ok(document) = toml::from_slice::<Document>(toml) else {
            bail!("is not TOML, or server.addr or server.shutdown_graceful_timeout is not text");
        };
        let shutdown_timeout = match document.server.shutdown_graceful_timeout {
            Some(text) => humantime::parse_duration(&text)
                .with_context(|| format!("server.shutdown_graceful_timeout = {text:?}"))?,
            None => SHUTDOWN_TIMEOUT_DEFAULT,
        };
        Ok(Self {
            addr: document
                .server
                .addr
                .unwrap_or_else(|| ADDRESS_DEFAULT.to_owned()),
            shutdown_timeout: shutdown_timeout.min(SHUTDOWN_TIMEOUT_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(toml: &str, addr: &str, seconds: u64) {
        let settings = Settings::parse(toml.as_bytes()).unwrap();
        assert_eq!(settings.addr, addr, "{toml}");
        assert_eq!(settings.shutdown_timeout.as_secs(), seconds, "{toml}");
    }

    #[test]
    fn what_is_not_set_has_a_default_and_unknown_keys_do_no_harm() {
        check("", ":8080", 15);
        check("[log]\nlevel = 'info'\n", ":8080", 15);
        check("[server]\naddr = ':80'\n", ":80", 15);
        let timeout = |text| format!("[server]\nshutdown_graceful_timeout = '{text}'\n");
        check(&timeout("3s"), ":8080", 3);
        check(&timeout("1000000000y"), ":8080", 3600);
    }

    #[test]
    fn a_text_that_does_not_parse_is_not_quoted() {
        let error = Settings::parse(b"password = hunter2").unwrap_err();
        assert!(!format!("{error:#}").contains("hunter2"));
    }
}
