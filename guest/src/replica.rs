//! The rules of one replica.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::location;
use crate::plan::{Position, Replica, Setting, Severity, Value};
use crate::report::{Report, quote, suggest};
use crate::schema::{Default, KEYS, REPLICA_KINDS, Scope};
use crate::tree::Node;
use crate::walk::{self, Section};
use crate::{scalar, schema};

const SCOPES: &[Scope] = &[Scope::OwnReplica, Scope::Replica];

/// What is the same for every replica.
pub(crate) struct Context<'a> {
    /// The top level, whose replica settings are defaults.
    pub(crate) globals: &'a Section<'a>,
    /// The kinds the host has.
    pub(crate) kinds: &'a [String],
}

/// Reads the replica at `node`. `None` after an error that leaves nothing to go on with.
pub(crate) fn read(
    node: &Node,
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Replica> {
    let own = walk::section(node, path, SCOPES, report);
    let from_url = url(&own, report);
    let (kind, at) = match (&from_url, own.get("url"), own.get("type")) {
        (Some(location), Some(found), _) => (location.kind.clone(), found.at),
        (None, Some(_), _) => return None,
        (_, None, Some(found)) => (own.text("type").unwrap_or_default().into(), found.at),
        _ => ("file".to_string(), node.at),
    };
    if !REPLICA_KINDS.contains(&kind.as_str()) {
        unknown_kind(&kind, path, at, report);
        return None;
    }
    if !context.kinds.contains(&kind) {
        let message = format!("this application cannot replicate to `{kind}`");
        let help = match context.kinds {
            [] => "it has no kind of replica at all".into(),
            kinds => format!("it can replicate to: {}", kinds.join(", ")),
        };
        report.error("replica-kind-unavailable", path, at, message, help);
    }
    let mut settings: Vec<Setting> = Vec::new();
    for found in own
        .found
        .iter()
        .filter(|it| !matches!(it.name.as_str(), "type" | "url"))
    {
        if found.key.applies_to(&kind) {
            settings.push(Setting {
                name: found.name.clone(),
                value: found.value.clone(),
            });
        } else {
            report.add(
                Severity::Warning,
                "not-for-this-kind",
                &found.path,
                Some(found.at),
                || {
                    let message =
                        format!("`{}` means nothing to a `{kind}` replica", found.key.name);
                    (
                        message,
                        Some(format!("it is for: {}", found.key.stores.join(", "))),
                    )
                },
            );
        }
    }
    for (name, value) in from_url.into_iter().flat_map(|location| location.settings) {
        fill(&mut settings, name, || value);
    }
    for found in context.globals.found.iter() {
        if found.key.scope == Scope::Replica && found.key.applies_to(&kind) {
            fill(&mut settings, &found.name, || found.value.clone());
        }
    }
    if kind == "s3" && get(&settings, "endpoint").is_some() {
        // Few servers but the provider's own answer to a host name per bucket.
        fill(&mut settings, "force-path-style", || Value::Flag(true));
    }
    defaults(Scope::Replica, &kind, &mut settings);
    check(&own, &kind, &settings, path, node.at, report);
    Some(Replica { kind, settings })
}

fn url(own: &Section<'_>, report: &mut Report) -> Option<location::Location> {
    let found = own.get("url")?;
    for other in ["path", "bucket", "host", "webdav-url"] {
        if let Some(other) = own.get(other) {
            let message = format!("`url` and `{}` are both given", other.key.name);
            let help = "keep `url`, or write everything with single keys";
            report.error("conflicting-keys", &other.path, other.at, message, help);
        }
    }
    let location = location::parse(own.text("url")?);
    if let Some(location) = &location
        && location.kind == "s3"
    {
        s3_url(location, &found.path, found.at, report);
    }
    if location.is_none() {
        let message = "this is not a URL";
        let help = "write for example `file:///backups/app`, or use `path`";
        report.error("invalid-url", &found.path, found.at, message, help);
    }
    location
}

/// What can be written as a URL, and what a replica must not be named by.
fn s3_url(location: &location::Location, path: &str, at: Position, report: &mut Report) {
    let bucket = location.settings.iter().find(|(name, _)| *name == "bucket");
    if let Some((_, Value::Text(bucket))) = bucket
        && bucket.starts_with("arn:")
    {
        let message = "a bucket cannot be named by the ARN of an access point";
        let help = "write the alias of the access point in its place";
        report.error("invalid-url", path, at, message, help);
    } else if let Some((_, Value::Text(bucket))) = bucket
        && bucket.contains('@')
    {
        let message = "an S3 URL takes no credentials";
        let help = "write them as `access-key-id` and `secret-access-key`";
        report.error("invalid-url", path, at, message, help);
    } else if location.is_bare {
        let message = "it is not clear where in the bucket this is: Litestream takes it for a \
                       folder with the name `.`";
        let help = "put a slash at the end for the whole bucket, or name a folder";
        report.error("ambiguous-url", path, at, message, help);
    }
}

fn unknown_kind(kind: &str, path: &str, at: Position, report: &mut Report) {
    let message = format!("there is no kind of replica {}", quote(kind));
    let alias = match kind.to_lowercase().as_str() {
        "gcs" | "google" => Some("gs"),
        "azure" | "azblob" | "az" => Some("abs"),
        "ssh" => Some("sftp"),
        "http" | "https" | "dav" => Some("webdav"),
        "minio" | "aws" | "r2" => Some("s3"),
        "local" | "fs" => Some("file"),
        _ => suggest(kind, REPLICA_KINDS.iter().copied()),
    };
    let help = match alias {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the kinds are: {}", REPLICA_KINDS.join(", ")),
    };
    report.error("unknown-replica-type", path, at, message, help);
}

fn check(
    own: &Section<'_>,
    kind: &str,
    settings: &[Setting],
    path: &str,
    at: Position,
    report: &mut Report,
) {
    if let Some(found) = own.get("path")
        && let Some(scheme) = own.text("path").and_then(location::scheme)
    {
        let message = format!("a path cannot be a URL such as `{scheme}://…`");
        report.error(
            "path-is-url",
            &found.path,
            found.at,
            message,
            "write it as `url:`",
        );
    }
    if let Some(Setting {
        value: Value::Bytes(bytes),
        ..
    }) = get(settings, "part-size")
        && *bytes < 5 << 20
    {
        let at = own.get("part-size").map_or(at, |found| found.at);
        let message = "`part-size` is too small: storage refuses parts below 5 MiB";
        report.error("out-of-range", path, at, message, "write at least `5MiB`");
    }
    let needed: &[&str] = match kind {
        "file" => &["path"],
        "sftp" => &["host"],
        "webdav" => &["webdav-url"],
        _ => &["bucket"],
    };
    for name in needed {
        let given = get(settings, name).is_some_and(
            |it| !matches!(&it.value, Value::Text(text) | Value::Secret(text) if text.is_empty()),
        );
        if !given {
            let message = format!("a `{kind}` replica needs `{name}`");
            report.error(
                "missing-key",
                path,
                at,
                message,
                format!("add `{name}:`, or `url:`"),
            );
        }
    }
}

fn get<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Setting> {
    settings.iter().find(|setting| setting.name == name)
}

/// Sets `name` where it is not set.
pub(crate) fn fill(settings: &mut Vec<Setting>, name: &str, value: impl FnOnce() -> Value) {
    if get(settings, name).is_none() {
        settings.push(Setting {
            name: name.into(),
            value: value(),
        });
    }
}

/// Fills in what the table has as defaults.
pub(crate) fn defaults(scope: Scope, kind: &str, settings: &mut Vec<Setting>) {
    let ours = |key: &&schema::Key| key.scope == scope && key.applies_to(kind);
    for key in KEYS.iter().filter(ours) {
        if let Default::Is(text) = key.default
            && !matches!(key.handling, schema::Handling::Ignored(_))
            && let Ok(value) = scalar::parse(key.kind, text, true)
        {
            fill(settings, key.name, || value);
        }
    }
}

/// A text that is the same for two replicas in the same place.
pub(crate) fn identity(replica: &Replica) -> String {
    let mut text = replica.kind.clone();
    for name in [
        "endpoint",
        "account-name",
        "host",
        "webdav-url",
        "bucket",
        "path",
    ] {
        if let Some(Value::Text(value) | Value::Secret(value)) =
            get(&replica.settings, name).map(|setting| &setting.value)
        {
            let value = if name == "path" {
                location::normal(value)
            } else {
                value.clone()
            };
            text += &format!("\0{name}={value}");
        }
    }
    text
}
