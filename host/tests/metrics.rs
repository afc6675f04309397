//! The metrics that are documented are those that a run emits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper::{Lockkeeper, METRICS, MetricKind};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use rusqlite::Connection;

const DEADLINE: Duration = Duration::from_secs(60);
const CONFIG: &str = "
levels: [{interval: 1s}]
l0-retention: 1ms
l0-retention-check-interval: 50ms
dbs: [{path: app.db, checkpoint-interval: 100ms, replica: {path: replica, sync-interval: 10ms}}]
";

/// The names of metrics, with the names of their labels.
type Names = BTreeMap<String, (MetricKind, BTreeSet<String>)>;

/// Remembers the names of what is emitted.
#[derive(Clone, Debug, Default)]
struct Listener(Arc<Mutex<Names>>);

impl Listener {
    fn heard(&self, key: &Key, kind: MetricKind) {
        let labels = key.labels().map(|label| label.key().to_owned());
        let heard = (key.name().to_owned(), (kind, labels.collect()));
        self.0.lock().unwrap().extend([heard]);
    }

    fn names(&self) -> Names {
        self.0.lock().unwrap().clone()
    }
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.heard(key, MetricKind::Counter);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.heard(key, MetricKind::Gauge);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.heard(key, MetricKind::Histogram);
        Histogram::noop()
    }
}

fn documented() -> Names {
    let all = METRICS.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| (*label).to_owned());
        (metric.name.to_owned(), (metric.kind, labels.collect()))
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_emits_every_documented_metric_and_no_other() {
    let listener = Listener::default();
    metrics::set_global_recorder(listener.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let app = Connection::open(dir.path().join("app.db")).unwrap();
    app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x)")
        .unwrap();
    let builder = Lockkeeper::builder().config(CONFIG).base_dir(dir.path());
    let keeper = builder.start().await.unwrap();
    let database = dir.path().join("app.db");
    keeper.verify(&database).await.unwrap();
    // Where the next file of the replica goes, there is a file already.
    let (ltx, away) = (dir.path().join("replica/ltx"), dir.path().join("away"));
    std::fs::rename(&ltx, &away).unwrap();
    std::fs::write(&ltx, "in the way").unwrap();
    app.execute("INSERT INTO t VALUES (1)", []).unwrap();
    let wanted = documented();
    let mut seen = Names::new();
    let all = async {
        let mut is_mended = false;
        while seen != wanted {
            seen = listener.names();
            if seen.contains_key("lockkeeper_failed_sends_total") && !is_mended {
                std::fs::remove_file(&ltx).unwrap();
                std::fs::rename(&away, &ltx).unwrap();
                is_mended = true;
            }
            if is_mended {
                app.execute("INSERT INTO t VALUES (1)", []).unwrap();
                let _ = keeper.enforce_retention(&database).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(DEADLINE, all).await;
    assert_eq!(seen, wanted);
    keeper.stop(DEADLINE).await.unwrap();
}

fn markdown() -> String {
    let mut text = String::from("| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let _ = writeln!(
            text,
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        );
    }
    text
}

#[test]
fn the_documentation_has_the_table() {
    const BEGIN: &str = "<!-- metrics: begin -->\n";
    const END: &str = "<!-- metrics: end -->";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let expected = markdown();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        let updated = format!("{before}{BEGIN}\n{expected}\n{END}{after}");
        std::fs::write(file, updated).expect("the file can be written");
    } else {
        assert_eq!(
            table.trim(),
            expected.trim(),
            "run `UPDATE_DOCS=1 cargo test`"
        );
    }
}
