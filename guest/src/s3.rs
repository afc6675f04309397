//! The host of an `s3://` URL, taken apart: a bucket, and where it is if that is part of the name.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::plan::Value;

/// The keys that the host of a URL stands for.
pub(crate) fn host(host: &str) -> Vec<(&'static str, Value)> {
    let Some((bucket, server)) = host.split_once('.') else {
        return text([("bucket", host)]);
    };
    let parts: Vec<&str> = server.split('.').collect();
    let (endpoint, region, in_path) = match parts[..] {
        ["s3", "amazonaws", "com"] => return text([("bucket", bucket)]),
        ["s3", region, "amazonaws", "com"] => {
            return text([("bucket", bucket), ("region", region)]);
        }
        [region, "digitaloceanspaces", "com"] => (server, region, false),
        ["s3", region, "scw", "cloud"] => (server, region, false),
        ["s3", region, "backblazeb2", "com"] => (server, region, true),
        ["s3", "filebase", "com"] => (server, "us-east-1", true),
        _ if has_port(server) => {
            let mut keys = text([("bucket", bucket), ("region", "us-east-1")]);
            keys.push(("endpoint", Value::Text(format!("http://{server}"))));
            keys.push(("force-path-style", Value::Flag(true)));
            return keys;
        }
        // A bucket may have dots in its name.
        _ => return text([("bucket", host)]),
    };
    let mut keys = text([("bucket", bucket), ("region", region)]);
    keys.push(("endpoint", Value::Text(format!("https://{endpoint}"))));
    keys.push(("force-path-style", Value::Flag(in_path)));
    keys
}

/// A path without what stands for nothing, as Litestream cleans that of a URL.
pub(crate) fn clean(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

fn has_port(server: &str) -> bool {
    server
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn text<const N: usize>(keys: [(&'static str, &str); N]) -> Vec<(&'static str, Value)> {
    keys.map(|(name, value)| (name, Value::Text(value.into())))
        .into()
}
