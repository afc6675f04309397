//! Every key of `litestream.yml`, in one table: what it takes, its default, and what becomes of it.
//!
//! The walk over a configuration, the defaults, the suggestions for misspelt keys and the table in
//! `docs/configuration.md` all come from here.

use alloc::string::String;

/// Where a key may stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// At the top.
    Top,
    /// In an element of `dbs`.
    Database,
    /// In a replica, or at the top as a default for every replica.
    Replica,
    /// In a replica only.
    OwnReplica,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number of at least this.
    Number(i64),
    /// A Go duration of at least so many milliseconds.
    Duration(u64),
    /// A size such as `5MiB`.
    Size,
    /// A whole number of bytes.
    Bytes,
    /// File permissions in octal.
    Mode,
    /// A list of texts.
    Texts,
    /// Something with keys of its own.
    Block,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handling {
    /// It does what it does in Litestream.
    Honoured,
    /// It is understood as something else, which the text names.
    Translated(&'static str),
    /// It is an error; the text says what to do instead.
    Refused(&'static str),
    /// It is reported and does nothing; the text says what to use instead.
    Ignored(&'static str),
}

/// What holds where a key is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Default {
    /// Nothing.
    Unset,
    /// This, as it would be written.
    Is(&'static str),
    /// It depends.
    Varies(&'static str),
}

/// One row of [`KEYS`].
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it may stand.
    pub scope: Scope,
    /// Its name; nested keys are joined by dots, `[]` stands for the elements of a list.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub default: Default,
    /// What becomes of it.
    pub handling: Handling,
    /// The kinds of replica it has a meaning for; empty for all.
    pub stores: &'static [&'static str],
    /// What it is for, in one line.
    pub doc: &'static str,
}

const fn key(scope: Scope, name: &'static str, kind: Kind, doc: &'static str) -> Key {
    let (default, handling) = (Default::Unset, Handling::Honoured);
    Key {
        scope,
        name,
        kind,
        default,
        handling,
        stores: &[],
        doc,
    }
}

const fn top(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(Scope::Top, name, kind, doc)
}

const fn db(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(Scope::Database, name, kind, doc)
}

const fn own(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    key(Scope::OwnReplica, name, kind, doc)
}

const fn replica(
    stores: &'static [&'static str],
    name: &'static str,
    kind: Kind,
    doc: &'static str,
) -> Key {
    Key {
        stores,
        ..key(Scope::Replica, name, kind, doc)
    }
}

impl Key {
    const fn is(self, default: &'static str) -> Self {
        Self {
            default: Default::Is(default),
            ..self
        }
    }

    const fn varies(self, default: &'static str) -> Self {
        Self {
            default: Default::Varies(default),
            ..self
        }
    }

    const fn ignored(self, instead: &'static str) -> Self {
        Self {
            handling: Handling::Ignored(instead),
            ..self
        }
    }

    const fn refused(self, instead: &'static str) -> Self {
        Self {
            handling: Handling::Refused(instead),
            ..self
        }
    }

    const fn translated(self, to: &'static str) -> Self {
        Self {
            handling: Handling::Translated(to),
            ..self
        }
    }

    /// Whether the key belongs to one of `scopes`.
    #[must_use]
    pub fn is_in(&self, scopes: &[Scope]) -> bool {
        scopes.contains(&self.scope)
    }

    /// Whether the key means something to a replica of this kind.
    #[must_use]
    pub fn applies_to(&self, kind: &str) -> bool {
        self.stores.is_empty() || self.stores.contains(&kind)
    }
}

/// The kinds of replica that Litestream knows.
pub const REPLICA_KINDS: &[&str] = &["file", "s3", "gs", "abs", "oss", "sftp", "webdav", "nats"];

const S3: &[&str] = &["s3"];
const S3_LIKE: &[&str] = &["s3", "oss"];
const ABS: &[&str] = &["abs"];
const GS: &[&str] = &["gs"];
const CLOUDS: &[&str] = &["s3", "gs", "abs"];
const SFTP: &[&str] = &["sftp"];
const WEBDAV: &[&str] = &["webdav"];
const NATS: &[&str] = &["nats"];
const BUCKETS: &[&str] = &["s3", "oss", "gs", "abs", "nats"];
const ENDPOINTS: &[&str] = &["s3", "oss", "abs"];
const ALL: &[&str] = &[];

const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "warning", "error"];
const AGE: &str = "remove it: Litestream 0.5 has no encryption of replicas either";

/// The table, in the order of the documentation.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    top("dbs", Kind::Block, "The databases to replicate; at least one."),
    top("addr", Kind::Text, "Address of a metrics server.").ignored("the metrics of the library, served by the application"),
    top("exec", Kind::Text, "A command to run as a child.").ignored("the application itself, which runs the replicator"),
    top("mcp-addr", Kind::Text, "Address of a control server for agents.").ignored("the control functions of the library, or the command-line tool"),
    top("socket.enabled", Kind::Flag, "Whether to listen on a control socket.").is("false"),
    top("socket.path", Kind::Text, "Where the control socket is.").is("/var/run/litestream.sock"),
    top("socket.permissions", Kind::Mode, "Permissions of the control socket.").is("0600"),
    top("levels[].interval", Kind::Duration(1), "How often each compaction level is written; at most 8 levels.").varies("`30s`, `5m`, `1h`"),
    top("snapshot.interval", Kind::Duration(1), "How often the whole database is written.").is("24h"),
    top("snapshot.retention", Kind::Duration(1), "How long snapshots are kept; the newest always is.").is("24h"),
    top("validation.interval", Kind::Duration(1), "How often the replica is restored and compared with the database; without it, only when it is asked for."),
    top("l0-retention", Kind::Duration(0), "How long single transactions are kept after compaction; 0 keeps them.").is("5m"),
    top("l0-retention-check-interval", Kind::Duration(1), "How often `l0-retention` is applied.").is("15s"),
    top("verify-compaction", Kind::Flag, "Accepted; every merged file is read back, and holes are never merged.").is("false"),
    top("retention.enabled", Kind::Flag, "`false` leaves deleting to the storage.").is("true"),
    top("heartbeat-url", Kind::Text, "Called while every commit becomes durable in time, see `docs/operations.md`. `http://` or `https://`."),
    top("heartbeat-interval", Kind::Duration(60_000), "How often `heartbeat-url` is called; at least `1m`.").varies("`5m` with `heartbeat-url`"),
    top("logging.level", Kind::Word(LEVELS), "The least severe message that is logged.").is("info"),
    top("logging.type", Kind::Word(&["text", "json", "pretty"]), "The form of log lines.").is("text"),
    top("logging.stderr", Kind::Flag, "Whether to log to standard error.").is("false"),
    top("logging.source", Kind::Flag, "Whether to log the place in the source.").is("false"),
    top("shutdown-sync-timeout", Kind::Duration(0), "How long to retry the last sync at shutdown; 0 tries once.").is("30s"),
    top("shutdown-sync-interval", Kind::Duration(1), "How long to wait between these tries.").is("500ms"),

    db("path", Kind::Text, "The database file. Exactly one of `path` and `dir`."),
    db("dir", Kind::Text, "A directory of databases."),
    db("pattern", Kind::Text, "Which files of `dir`, by name.").varies("`*` with `dir`"),
    db("recursive", Kind::Flag, "Whether to look into directories of `dir`.").varies("`false` with `dir`"),
    db("watch", Kind::Flag, "Whether to follow files that come and go.").varies("`false` with `dir`"),
    db("meta-path", Kind::Text, "Where local state is kept.").varies("`.NAME-litestream` beside the database"),
    db("meta-dir", Kind::Text, "Where local state is kept, below one directory for all of `dir`."),
    db("monitor-interval", Kind::Duration(0), "How often to look for commits; a tenth as often where the system tells of them.").is("1s"),
    db("checkpoint-interval", Kind::Duration(0), "How often to checkpoint a log that was written to; 0 turns it off.").is("1m"),
    db("busy-timeout", Kind::Duration(0), "How long to wait for a lock.").is("1s"),
    db("min-checkpoint-page-count", Kind::Number(1), "Pages in the log from which on it is checkpointed.").is("1000"),
    db("truncate-page-n", Kind::Number(i64::MIN), "Pages in the log from which on it is truncated; negative turns it off, 0 is the default.").is("121359"),
    db("max-sync-wal-bytes", Kind::Bytes, "The most that is read from the log at once; 0 for no limit.").is("67108864"),
    db("restore-if-db-not-exists", Kind::Flag, "Whether to restore a missing database at start.").is("false"),
    db("snapshot.interval", Kind::Duration(1), "As at the top; databases must not contradict each other.").varies("as at the top"),
    db("snapshot.retention", Kind::Duration(1), "As at the top; databases must not contradict each other.").varies("as at the top"),
    db("replica", Kind::Block, "Where the database goes. Exactly one of `replica` and `replicas`."),
    db("replicas", Kind::Block, "A list of one replica.").translated("`replica`"),

    own("type", Kind::Text, "`file`, `s3`, `gs`, `abs`, `oss`, `sftp`, `webdav` or `nats`; the scheme of `url` wins.").is("file"),
    own("name", Kind::Text, "A name.").ignored("nothing; a database has one replica, which needs no name"),
    own("path", Kind::Text, "Where in the storage; for `file`, the directory."),
    own("url", Kind::Secret, "The place as a URL, instead of `path` and others.").translated("`type` and the keys it stands for"),

    replica(ALL, "sync-interval", Kind::Duration(1), "How long commits may wait while others keep coming.").is("1s"),
    replica(ALL, "max-sync-ltx-files", Kind::Number(0), "Accepted; files are sent one by one as they are sealed.").is("256"),
    replica(ALL, "auto-recover", Kind::Flag, "Accepted; local state that does not fit the replica is always replaced, and the log says so.").is("false"),
    replica(ALL, "validation-interval", Kind::Duration(0), "Without effect in Litestream 0.5, too.").ignored("`validation.interval` at the top"),
    replica(ALL, "age.identities", Kind::Texts, "Keys to decrypt with.").refused(AGE),
    replica(ALL, "age.recipients", Kind::Texts, "Keys to encrypt for.").refused(AGE),
    replica(S3_LIKE, "access-key-id", Kind::Text, "The key's name."),
    replica(S3_LIKE, "secret-access-key", Kind::Secret, "The key."),
    replica(S3_LIKE, "region", Kind::Text, "The region.").varies("that of the bucket, which is asked for; `us-east-1` with `endpoint`"),
    replica(BUCKETS, "bucket", Kind::Text, "The bucket or container."),
    replica(ENDPOINTS, "endpoint", Kind::Text, "The server, where it is not the provider's own."),
    replica(S3_LIKE, "part-size", Kind::Size, "The size of the parts of an upload; at least `5MiB`.").varies("`5MiB`"),
    replica(S3_LIKE, "concurrency", Kind::Number(1), "Parts sent at the same time; each takes memory.").varies("5; 2 for Cloudflare R2"),
    replica(S3, "force-path-style", Kind::Flag, "Whether the bucket is part of the path.").varies("`true` with `endpoint`"),
    replica(S3, "sign-payload", Kind::Flag, "Whether to sign what is sent."),
    replica(S3, "require-content-md5", Kind::Flag, "Whether to send a checksum with deletions."),
    replica(S3, "skip-verify", Kind::Flag, "Whether to accept any certificate."),
    replica(S3, "storage-class", Kind::Text, "The class of new objects."),
    replica(S3, "sse-customer-algorithm", Kind::Text, "The cipher for a key of your own."),
    replica(S3, "sse-customer-key", Kind::Secret, "The key, in base64."),
    replica(S3, "sse-customer-key-path", Kind::Text, "A file with the key."),
    replica(S3, "sse-kms-key-id", Kind::Text, "A key that the provider keeps."),
    replica(CLOUDS, "use-platform-credentials", Kind::Flag, "Whether to take the credentials of the machine where none are given here. Litestream skips this key, and always does.").is("false"),
    replica(GS, "service-account", Kind::Secret, "The key of a service account, in JSON. Litestream skips this key."),
    replica(ABS, "account-name", Kind::Text, "The account."),
    replica(ABS, "account-key", Kind::Secret, "Its key."),
    replica(ABS, "sas-token", Kind::Secret, "A token instead of the key."),
    replica(&["sftp", "nats"], "host", Kind::Text, "The server, with its port."),
    replica(SFTP, "user", Kind::Text, "The user."),
    replica(&["sftp", "nats"], "password", Kind::Secret, "The password."),
    replica(SFTP, "key-path", Kind::Text, "A file with the private key."),
    replica(SFTP, "host-key", Kind::Text, "The server's public key."),
    replica(SFTP, "concurrent-writes", Kind::Flag, "Whether to send several blocks at once."),
    replica(WEBDAV, "webdav-url", Kind::Secret, "The server."),
    replica(WEBDAV, "webdav-username", Kind::Text, "The user."),
    replica(WEBDAV, "webdav-password", Kind::Secret, "The password."),
    replica(NATS, "jwt", Kind::Secret, "A user's token, with `seed`."),
    replica(NATS, "seed", Kind::Secret, "The seed that goes with `jwt`."),
    replica(NATS, "creds", Kind::Secret, "A file with credentials."),
    replica(NATS, "nkey", Kind::Secret, "A key's seed."),
    replica(NATS, "username", Kind::Text, "The user."),
    replica(NATS, "token", Kind::Secret, "A token."),
    replica(NATS, "tls", Kind::Flag, "Whether to insist on TLS."),
    replica(NATS, "root-cas", Kind::Texts, "Files with certificates to trust."),
    replica(NATS, "client-cert", Kind::Text, "A file with the client's certificate."),
    replica(NATS, "client-key", Kind::Text, "A file with its key."),
    replica(NATS, "max-reconnects", Kind::Number(i64::MIN), "How often to reconnect; negative for ever."),
    replica(NATS, "reconnect-wait", Kind::Duration(0), "How long to wait in between."),
    replica(NATS, "timeout", Kind::Duration(0), "How long a request may take."),
];

/// The table as Markdown, as `docs/configuration.md` has it.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let sections = [
        ("Top level", Scope::Top),
        ("Each element of `dbs`", Scope::Database),
        ("A replica", Scope::OwnReplica),
        (
            "A replica, or the top level as a default for every replica",
            Scope::Replica,
        ),
    ];
    for (title, scope) in sections {
        text += &alloc::format!("\n### {title}\n\n");
        text += "| Key | Takes | Default | Handling | Meaning |\n|---|---|---|---|---|\n";
        for key in KEYS.iter().filter(|key| key.scope == scope) {
            let default = match key.default {
                Default::Unset => String::new(),
                Default::Is(value) => alloc::format!("`{value}`"),
                Default::Varies(text) => text.into(),
            };
            let handling = match key.handling {
                Handling::Honoured => "honoured".into(),
                Handling::Translated(to) => alloc::format!("translated to {to}"),
                Handling::Refused(instead) => alloc::format!("refused; {instead}"),
                Handling::Ignored(instead) => {
                    alloc::format!("ignored with a warning; use {instead}")
                }
            };
            let stores = if key.stores.is_empty() {
                String::new()
            } else {
                alloc::format!(" ({})", key.stores.join(", "))
            };
            let takes = takes(key.kind);
            text += &alloc::format!(
                "| `{}` | {takes} | {default} | {handling} | {}{stores} |\n",
                key.name,
                key.doc
            );
        }
    }
    text
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Secret => "secret text".into(),
        Kind::Word(words) => words.join(", "),
        Kind::Flag => "`true`, `false`".into(),
        Kind::Number(_) => "number".into(),
        Kind::Duration(_) => "duration".into(),
        Kind::Size => "size".into(),
        Kind::Bytes => "number of bytes".into(),
        Kind::Mode => "octal number".into(),
        Kind::Texts => "list of texts".into(),
        Kind::Block => "keys".into(),
    }
}
