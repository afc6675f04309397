//! Whole configurations: what is reported, and where.

#![allow(
    clippy::expect_used,
    reason = "a test that meets the unexpected should stop"
)]

use std::time::{Duration, Instant};

use crate::plan::{Plan, Severity, Value};
use crate::schema::{self, KEYS, REPLICA_KINDS};
use crate::validate::validate;

/// A database that is fine, to put other things around.
const DB: &str = "dbs:\n  - path: a.db\n    replica:\n      path: /b\n";

fn kinds() -> Vec<String> {
    REPLICA_KINDS.iter().map(ToString::to_string).collect()
}

/// Expects exactly these, as `code line:column`; the codes of warnings and notes, too.
#[track_caller]
fn check(yaml: &str, expected: &[&str]) {
    let found = validate(yaml, &kinds()).map_or_else(|found| found, |plan| plan.diagnostics);
    let shown: Vec<String> = found
        .iter()
        .map(|it| match it.position {
            Some(at) => format!("{} {}:{}", it.code, at.line, at.column),
            None => it.code.into(),
        })
        .collect();
    assert_eq!(shown, expected, "{yaml}\n{found:#?}");
}

#[track_caller]
fn plan(yaml: &str) -> Plan {
    validate(yaml, &kinds()).unwrap_or_else(|found| panic!("{yaml}\n{found:#?}"))
}

/// With one more line at the top.
#[track_caller]
fn top(line: &str, expected: &[&str]) {
    check(&format!("{line}\n{DB}"), expected);
}

/// With lines in the database, which start in line 3, column 5.
#[track_caller]
fn db(lines: &str, expected: &[&str]) {
    check(
        &format!("dbs:\n  - path: a.db\n    {lines}\n    replica: {{path: /b}}\n"),
        expected,
    );
}

/// With a replica that starts in line 3, column 14.
#[track_caller]
fn replica(flow: &str, expected: &[&str]) {
    check(
        &format!("dbs:\n  - path: a.db\n    replica: {flow}\n"),
        expected,
    );
}

#[test]
fn everything_is_reported_at_once_and_in_order() {
    check(
        "sync-intervall: 1s\ndbs:\n  - path: a.db\n    busy-timeout: 5\n    replica:\n      \
         typ: file\n      path: $HOME\n      path: b\n",
        &[
            "unknown-key 1:1",
            "wrong-type 4:19",
            "unknown-key 6:7",
            "environment-variable 7:13",
            "duplicate-key 8:7",
        ],
    );
}

#[test]
fn unknown_keys_come_with_a_suggestion() {
    for (yaml, near) in [
        ("snapshots: {interval: 1h}", "`snapshot`"),
        ("snapshot: {intervall: 1h}", "`interval`"),
        ("sync_interval: 1s", "`sync-interval`"),
        ("Addr: x", "`addr`"),
        ("busy-timeout: 1s", "`dbs`"),
    ] {
        let found = validate(&format!("{yaml}\n{DB}"), &kinds()).expect_err(yaml);
        let help = found[0].help.as_deref().unwrap_or_default();
        assert!(help.contains(near), "{yaml}: {help}");
    }
}

#[test]
fn the_environment_is_refused_and_dollars_can_be_written() {
    top("# $HOME", &["environment-variable 1:3"]);
    top(
        "# ${A:-b} $_x",
        &["environment-variable 1:3", "environment-variable 1:11"],
    );
    top("# $$HOME $$$$ $1 100$ $$$ é $", &[]);
    top("# $$$HOME", &["environment-variable 1:5"]);
    replica("{path: 'pa$1'}", &[]);
    let plan = plan("dbs: [{path: a$$b, replica: {path: $$HOME$}}]");
    assert_eq!(plan.databases[0].path.as_deref(), Some("a$b"));
    let value = &plan.databases[0].replica.settings[0].value;
    assert_eq!(value, &Value::Text("$HOME$".into()));
}

#[test]
fn secrets_are_never_quoted() {
    for yaml in [
        "secret-access-key: {hush: 1}",
        "secret-acces-key: hush",
        "account-key: ${HUSHX:-hush}",
        "password: [hush]",
        "secret-access-key: hush\nsecret-access-key: hush",
        "dbs: sftp://me:hush@host/path",
        "dbs: [{path: a, replica: {path: 'sftp://me:hush@host/path'}}]",
        "dbs: [{path: a, replica: {url: 'sfpt://me:hush@host/path'}}]",
        "dbs: [{path: 'x://me:hush@host', replica: 'sftp://me:hush@host/path'}]",
    ] {
        let found = validate(yaml, &kinds()).expect_err(yaml);
        for it in found {
            let text = format!("{} {} {:?}", it.path, it.message, it.help);
            assert!(!text.contains("hush"), "{yaml}: {text}");
        }
    }
}

#[test]
fn standalone_features_are_warned_about() {
    top("exec: ./app", &["not-supported-embedded 1:1"]);
    top("addr: ':9090'", &["not-supported-embedded 1:1"]);
    top("mcp-addr: ':3001'", &["not-supported-embedded 1:1"]);
    top(
        "age: {identities: [], recipients: [x]}",
        &["not-supported 1:23"],
    );
    top("age: {identities: []}", &[]);
    replica("{path: b, name: x}", &["ignored-key 3:24"]);
}

#[test]
fn values_are_checked() {
    for good in ["300ms", "1h30m", "'1.5h'", "0.5s", "+1s", "1us"] {
        top(&format!("snapshot: {{interval: {good}}}"), &[]);
    }
    for bad in ["1d", "5", "x", "1", "1s1", "'5'", "[1s]", "{a: 1s}"] {
        top(
            &format!("snapshot: {{interval: {bad}}}"),
            &["wrong-type 1:22"],
        );
    }
    for bad in ["0s", "-5s", "0", "9999999h"] {
        top(
            &format!("snapshot: {{interval: {bad}}}"),
            &["out-of-range 1:22"],
        );
    }
    top("l0-retention: 0", &[]);
    top("l0-retention: -1s", &["out-of-range 1:15"]);
    for bad in ["yes", "no", "on", "'true'", "1"] {
        top(&format!("verify-compaction: {bad}"), &["wrong-type 1:20"]);
    }
    top("retention: 24h", &["wrong-type 1:12"]);
    top(
        "logging: {level: WARN, type: bogus}",
        &["unknown-value 1:30"],
    );
    top("logging: {level: inf}", &["unknown-value 1:18"]);
    top("socket: {enabled: false, permissions: 0600}", &[]);
    top("socket: {permissions: 600}", &["wrong-type 1:23"]);
    top(
        "heartbeat-url: ftp://x\nheartbeat-interval: 59s",
        &["invalid-url 1:16", "out-of-range 2:21"],
    );
    top("levels: [null]", &["wrong-type 1:10"]);
    top("levels: [{}]", &["missing-key 1:9"]);
    top("levels: []", &[]);
    top(
        &format!("levels: [{}]", ["{interval: 1s}"; 9].join(", ")),
        &["out-of-range 1:9"],
    );
    top("part-size: 5XB", &["wrong-type 1:12"]);
    db("min-checkpoint-page-count: 0", &["out-of-range 3:32"]);
    db("max-sync-wal-bytes: 64MiB", &["wrong-type 3:25"]);
}

#[test]
fn databases_and_replicas_follow_the_rules() {
    check("", &["no-databases 1:1"]);
    check("# nothing", &["no-databases 1:1"]);
    check("dbs: []", &["no-databases 1:1"]);
    check("dbs:", &["no-databases 1:1"]);
    check("[]", &["wrong-type 1:1", "no-databases 1:1"]);
    check("dbs: [{replica: {path: b}}]", &["missing-key 1:7"]);
    check("dbs: [null]", &["wrong-type 1:7"]);
    check("dbs: [{path: a}]", &["missing-replica 1:7"]);
    db("dir: x", &["conflicting-keys 3:10"]);
    db("watch: true", &["conflicting-keys 3:12"]);
    db("replicas: [{path: /c}]", &["conflicting-keys 3:5"]);
    check(
        "dbs: [{dir: x, replica: {path: b}}]",
        &["default-pattern 1:13"],
    );
    check(
        "dbs: [{dir: x, pattern: '*.db', watch: true, replica: {path: b}}]",
        &[],
    );
    check(
        "dbs: [{path: a, replicas: [{path: b}]}]",
        &["deprecated-key 1:17"],
    );
    check(
        "dbs: [{path: a, replicas: [{path: b}, {path: c}]}]",
        &["too-many-replicas 1:39"],
    );
    replica("{type: s4, path: x}", &["unknown-replica-type 3:21"]);
    replica("{url: 'gcs://b/p'}", &["unknown-replica-type 3:20"]);
    replica("{url: 's3://b/p', path: x}", &["conflicting-keys 3:38"]);
    replica("{path: 's3://b/p'}", &["path-is-url 3:21"]);
    replica("{type: s3}", &["missing-key 3:14"]);
    replica("{path: x, bucket: y}", &["not-for-this-kind 3:32"]);
    replica(
        "{type: s3, bucket: x, part-size: 1MB}",
        &["out-of-range 3:47"],
    );
    check(
        "dbs: [{path: a, replica: {path: b}}, {path: ./a, replica: {path: b/}}]",
        &["duplicate-database 1:38", "duplicate-replica 1:38"],
    );
    check(
        "dbs: [{path: a, snapshot: {interval: 1h}, replica: {path: b}}, {path: c, snapshot: \
         {interval: 2h}, replica: {path: d}}]",
        &["conflicting-snapshot 1:64"],
    );
    let only_file = [String::from("file")];
    let found = validate("dbs: [{path: a, replica: {url: 's3://b/'}}]", &only_file);
    let found = found.expect_err("s3 is not there");
    assert_eq!(found[0].code, "replica-kind-unavailable");
    assert_eq!(found[0].position.map(|at| at.column), Some(32));
}

fn setting<'a>(settings: &'a [crate::plan::Setting], name: &str) -> Option<&'a Value> {
    settings
        .iter()
        .find(|setting| setting.name == name)
        .map(|setting| &setting.value)
}

#[test]
fn plans_are_complete() {
    let plan = plan(&format!(
        "sync-interval: 5s\nsnapshot: {{interval: 2h}}\n{DB}"
    ));
    let own = &plan.databases[0];
    let replica = &own.replica;
    assert_eq!(replica.kind, "file");
    assert_eq!(
        setting(&replica.settings, "sync-interval"),
        Some(&Value::Duration(5000))
    );
    assert_eq!(
        setting(&replica.settings, "path"),
        Some(&Value::Text("/b".into()))
    );
    assert_eq!(
        setting(&own.settings, "truncate-page-n"),
        Some(&Value::Number(121_359))
    );
    assert_eq!(
        setting(&own.settings, "max-sync-wal-bytes"),
        Some(&Value::Bytes(64 << 20))
    );
    assert_eq!(
        setting(&own.settings, "snapshot.interval"),
        Some(&Value::Duration(7_200_000))
    );
    assert_eq!(
        setting(&plan.settings, "levels.1.interval"),
        Some(&Value::Duration(300_000))
    );
    assert_eq!(setting(&plan.settings, "levels"), None);
}

#[test]
fn a_negative_page_count_turns_truncation_off_and_zero_is_the_default() {
    for (given, expected) in [("-1", 0), ("0", 121_359), ("7", 7)] {
        let yaml = format!("dbs: [{{path: a, truncate-page-n: {given}, replica: {{path: b}}}}]");
        let plan = plan(&yaml);
        let value = setting(&plan.databases[0].settings, "truncate-page-n");
        assert_eq!(value, Some(&Value::Number(expected)), "{yaml}");
    }
}

#[test]
fn urls_are_taken_apart_and_win() {
    let plan = plan("dbs: [{path: 'sqlite:///a', replica: {type: s3, url: 'file:///b/c'}}]");
    assert_eq!(plan.databases[0].path.as_deref(), Some("/a"));
    assert_eq!(plan.databases[0].replica.kind, "file");
    let path = setting(&plan.databases[0].replica.settings, "path");
    assert_eq!(path, Some(&Value::Text("/b/c".into())));
}

#[test]
fn a_file_url_is_absolute_with_or_without_its_slash() {
    let plan = plan("dbs: [{path: a, replica: {url: 'file://b/c'}}]");
    let path = setting(&plan.databases[0].replica.settings, "path");
    assert_eq!(path, Some(&Value::Text("/b/c".into())));
}

#[test]
fn the_host_of_an_s3_url_says_where_the_bucket_is() {
    for (url, bucket, region, endpoint, style) in [
        ("b/p", "b", None, None, None),
        ("my.b/p", "my.b", None, None, None),
        ("b.s3.amazonaws.com/p", "b", None, None, None),
        (
            "b.s3.eu-west-1.amazonaws.com/p",
            "b",
            Some("eu-west-1"),
            None,
            None,
        ),
        (
            "b.nyc3.digitaloceanspaces.com/p",
            "b",
            Some("nyc3"),
            Some("https://nyc3.digitaloceanspaces.com"),
            Some(false),
        ),
        (
            "b.s3.us-west-002.backblazeb2.com/p",
            "b",
            Some("us-west-002"),
            Some("https://s3.us-west-002.backblazeb2.com"),
            Some(true),
        ),
        (
            "b.s3.fr-par.scw.cloud/p",
            "b",
            Some("fr-par"),
            Some("https://s3.fr-par.scw.cloud"),
            Some(false),
        ),
        (
            "b.s3.filebase.com/p",
            "b",
            Some("us-east-1"),
            Some("https://s3.filebase.com"),
            Some(true),
        ),
        (
            "b.localhost:9000/p",
            "b",
            Some("us-east-1"),
            Some("http://localhost:9000"),
            Some(true),
        ),
        (
            "b.localhost:9000/p?endpoint=https://x.org&region=r&forcePathStyle=false",
            "b",
            Some("r"),
            Some("https://x.org"),
            Some(false),
        ),
    ] {
        let plan = plan(&format!(
            "dbs: [{{path: a, replica: {{url: 's3://{url}'}}}}]"
        ));
        let settings = &plan.databases[0].replica.settings;
        let text = |name| match setting(settings, name) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let found = (text("bucket"), text("region"), text("endpoint"));
        assert_eq!(found, (Some(bucket), region, endpoint), "{url}");
        let found = setting(settings, "force-path-style");
        assert_eq!(found, style.map(Value::Flag).as_ref(), "{url}");
        assert_eq!(text("path"), Some("p"), "{url}");
    }
}

#[test]
fn an_s3_url_is_clear_about_its_folder() {
    let path = |url: &str| {
        let plan = plan(&format!("dbs: [{{path: a, replica: {{url: '{url}'}}}}]"));
        setting(&plan.databases[0].replica.settings, "path").cloned()
    };
    assert_eq!(path("s3://b/"), None);
    assert_eq!(path("s3://b//x/./y/"), Some(Value::Text("x/y".into())));
    replica("{url: 's3://b'}", &["ambiguous-url 3:20"]);
    replica("{url: 's3://b?region=r'}", &["ambiguous-url 3:20"]);
    replica("{url: 's3://id:hush@b/p'}", &["invalid-url 3:20"]);
    replica(
        "{url: 's3://arn:aws:s3:eu-west-1:1:accesspoint/a/b'}",
        &["invalid-url 3:20"],
    );
}

#[test]
fn an_endpoint_turns_path_style_on() {
    for (keys, expected) in [
        ("endpoint: h", Some(true)),
        ("endpoint: h, force-path-style: false", Some(false)),
        ("region: r", None),
    ] {
        let plan = plan(&format!(
            "dbs: [{{path: a, replica: {{type: s3, bucket: b, {keys}}}}}]"
        ));
        let value = setting(&plan.databases[0].replica.settings, "force-path-style");
        assert_eq!(value, expected.map(Value::Flag).as_ref(), "{keys}");
    }
}

/// A default that cannot be read would be left out of every plan.
#[test]
fn the_table_is_sound() {
    for key in KEYS {
        assert!(
            !key.doc.is_empty() && key.doc.ends_with('.'),
            "{}",
            key.name
        );
        if let schema::Default::Is(text) = key.default {
            assert!(
                crate::scalar::parse(key.kind, text, true).is_ok(),
                "{}",
                key.name
            );
        }
    }
}

/// Every part of the sample that Litestream publishes, and what its documentation adds.
const OFFICIAL_SAMPLE: &str = r#"# access-key-id: AKIA
access-key-id:     AKIAxxxx
secret-access-key: xxxx/yyyy
addr: ":9090"
exec: "app -port 80"
socket:
  enabled: true
  path: /var/run/litestream.sock
  permissions: 0600
levels:
  - interval: 30s
  - interval: 5m
snapshot:
  interval:  24h
  retention: 168h
validation:
  interval: 6h
l0-retention: 5m
l0-retention-check-interval: 15s
verify-compaction: true
retention:
  enabled: true
heartbeat-url: https://example.com/ping
heartbeat-interval: 5m
logging:
  level: info
  type: json
  stderr: true
  source: false
shutdown-sync-timeout: 30s
shutdown-sync-interval: 500ms
dbs:
  - path: /var/lib/one.db
    meta-path: /var/lib/meta
    monitor-interval: 1s
    checkpoint-interval: 1m
    busy-timeout: 1s
    min-checkpoint-page-count: 1000
    truncate-page-n: 500000
    max-sync-wal-bytes: 67108864
    restore-if-db-not-exists: true
    replica:
      type: s3
      bucket: mybucket
      path: db
      region: us-east-1
      endpoint: localhost:9000
      force-path-style: true
      part-size: 10MB
      concurrency: 5
      sync-interval: 10s
  - path: /var/lib/two.db
    replica:
      url: s3://mybucket.litestream.io/two
  - path: /var/lib/three.db
    replica:
      url: abs://account@container/three
      account-key: base64
  - path: /var/lib/four.db
    replica:
      url: sftp://me:secret@host:22/four
      key-path: /etc/sftp_key
  - dir: /var/lib/tenants
    pattern: "*.db"
    recursive: true
    watch: true
    meta-dir: /var/lib/metas
    replica:
      type: nats
      host: nats.example.com
      bucket: tenants
      jwt: a
      seed: b
      root-cas: [/etc/ca.pem]
      max-reconnects: -1
"#;

#[test]
fn the_official_sample_is_understood() {
    check(
        OFFICIAL_SAMPLE,
        &["not-supported-embedded 4:1", "not-supported-embedded 5:1"],
    );
}

#[test]
fn hostile_sources_are_refused_fast() {
    let bombs = [
        ("[".repeat(200_000), "too-deep"),
        ("{a: ".repeat(200_000), "too-deep"),
        ("- ".repeat(200_000), "too-deep"),
        ("a: &a [1]\nb: *a".into(), "unsupported-yaml"),
        ("- a\n".repeat(3_400_000), "too-large"),
        ("- a\n".repeat(200_000), "too-complex"),
        (format!("dbs: [{}]", "a,".repeat(10_000)), "wrong-type"),
        ("$A ".repeat(300_000), "environment-variable"),
        ("a ".repeat(500_000), "wrong-type"),
        (format!("'{}'", "a ".repeat(500_000)), "wrong-type"),
        (
            format!("a:\n - |\n{}", "  b\n".repeat(200_000)),
            "no-databases",
        ),
        (format!("k{}: 1", "x".repeat(1_000_000)), "syntax"),
        (
            (0..10_000).map(|n| format!("key{n}: 1\n")).collect(),
            "unknown-key",
        ),
    ];
    for (source, code) in bombs {
        let started = Instant::now();
        let found = validate(&source, &kinds()).expect_err(code);
        let took = started.elapsed();
        // Without optimisation, only what grows faster than the source would be seen.
        let limit = if cfg!(debug_assertions) { 3000 } else { 100 };
        assert!(took < Duration::from_millis(limit), "{code} took {took:?}");
        assert!(
            found.iter().any(|it| it.code == code),
            "{code}: {:?}",
            found[0]
        );
        assert!(found.len() <= 101);
        let text: usize = found
            .iter()
            .map(|it| it.message.len() + it.path.len())
            .sum();
        assert!(text < 64 << 10, "{code}: {text} bytes of messages");
    }
}

#[test]
fn diagnostics_are_capped_without_hiding_errors() {
    let warnings = "exec: a\n".to_string() + &"x: 1\n".repeat(150);
    let found = validate(&format!("{warnings}{DB}"), &kinds()).expect_err("unknown keys");
    assert_eq!(found.len(), 101);
    assert_eq!(found[100].severity, Severity::Error);
    assert_eq!(found[100].message, "and 51 more");
}

#[test]
fn the_documentation_has_the_table() {
    const BEGIN: &str = "<!-- keys: begin -->\n";
    const END: &str = "<!-- keys: end -->";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let text = std::fs::read_to_string(file).expect("the file is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let expected = schema::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        let updated = format!("{before}{BEGIN}{expected}\n{END}{after}");
        std::fs::write(file, updated).expect("the file can be written");
    } else {
        assert_eq!(
            table.trim(),
            expected.trim(),
            "run `UPDATE_DOCS=1 cargo test`"
        );
    }
}
