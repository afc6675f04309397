//! Replica URLs, taken apart into the keys they stand for.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::plan::Value;
use crate::{s3, scalar};

/// The keys that `url` stands for.
pub(crate) struct Location {
    pub(crate) kind: String,
    pub(crate) settings: Vec<(&'static str, Value)>,
    /// Whether it names a bucket with nothing behind it, not even a slash.
    pub(crate) is_bare: bool,
}

/// The scheme, if `text` looks like a URL.
pub(crate) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '.');
    (!scheme.is_empty() && scheme.chars().all(is_word)).then_some(scheme)
}

/// Takes `url` apart; `None` if it has no scheme. Whether the kind is known is not asked here.
pub(crate) fn parse(url: &str) -> Option<Location> {
    let scheme = scheme(url)?.to_lowercase();
    let (_, rest) = url.split_once("://")?;
    match scheme.as_str() {
        "file" => return Some(file(rest)),
        "s3" => return Some(s3(rest)),
        _ => {}
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut settings = Vec::new();
    let mut set = |name, text: &str| {
        if !text.is_empty() {
            settings.push((name, Value::Text(text.into())));
        }
    };
    let path = path.trim_matches('/');
    match scheme.as_str() {
        "abs" => {
            set("account-name", user);
            set("bucket", host);
            set("path", path);
        }
        "sftp" => {
            set("user", user);
            set("host", host);
            set("path", path);
        }
        "webdav" | "webdavs" => {
            set("webdav-username", user);
            set("path", path);
            let server = if scheme == "webdav" {
                "http://"
            } else {
                "https://"
            };
            let server = server.to_string() + host;
            settings.push(("webdav-url", Value::Secret(server)));
        }
        "nats" => {
            set("host", host);
            set("username", user);
            set("bucket", path);
        }
        _ => {
            set("bucket", host);
            set("path", path);
        }
    }
    if !password.is_empty() {
        settings.push((password_key(&scheme), Value::Secret(password.into())));
    }
    settings.extend(query.split('&').filter_map(parameter));
    let kind = if scheme == "webdavs" {
        "webdav".into()
    } else {
        scheme
    };
    Some(Location {
        kind,
        settings,
        is_bare: !rest.contains('/'),
    })
}

/// Litestream takes what follows `file://` for an absolute path, with or without its slash.
fn file(rest: &str) -> Location {
    let path = String::from("/") + rest.trim_start_matches('/');
    Location {
        kind: "file".into(),
        settings: Vec::from([("path", Value::Text(path))]),
        is_bare: false,
    }
}

/// Takes what follows `s3://` apart.
fn s3(rest: &str) -> Location {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    // What is written out wins over what the name of the host says.
    let mut settings: Vec<_> = query.split('&').filter_map(parameter).collect();
    settings.extend(s3::host(host));
    let path = s3::clean(path);
    if !path.is_empty() {
        settings.push(("path", Value::Text(path)));
    }
    Location {
        kind: "s3".into(),
        settings,
        is_bare: !rest.contains('/'),
    }
}

fn password_key(scheme: &str) -> &'static str {
    if scheme.starts_with("webdav") {
        "webdav-password"
    } else {
        "password"
    }
}

fn parameter(pair: &str) -> Option<(&'static str, Value)> {
    let (name, value) = pair.split_once('=')?;
    let text = || Value::Text(value.into());
    let flag = || Value::Flag(value == "true");
    Some(match name {
        "endpoint" => ("endpoint", text()),
        "region" => ("region", text()),
        "storageClass" | "storage-class" => ("storage-class", text()),
        "forcePathStyle" => ("force-path-style", flag()),
        "skipVerify" => ("skip-verify", flag()),
        "signPayload" | "sign-payload" => ("sign-payload", flag()),
        "requireContentMD5" | "require-content-md5" => ("require-content-md5", flag()),
        "partSize" | "part-size" => ("part-size", Value::Bytes(scalar::size(value).ok()?)),
        "use-platform-credentials" => ("use-platform-credentials", flag()),
        "concurrency" => ("concurrency", Value::Number(value.parse().ok()?)),
        _ => return None,
    })
}

/// `path` in the one form in which two spellings of a place compare equal.
pub(crate) fn normal(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    let joined = parts.collect::<Vec<_>>().join("/");
    if path.starts_with('/') {
        "/".to_string() + &joined
    } else {
        joined
    }
}
