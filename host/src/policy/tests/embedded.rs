//! The embedded component in the sandbox.

use lockkeeper_core::guard::proposals;
use proptest::option;
use proptest::prelude::*;

use super::super::limiter::MEMORY_BYTES_MAX;
use super::super::*;
use super::*;
use crate::secret::Secret;

fn embedded() -> Component {
    Component::load(&PolicySource::Embedded).unwrap()
}

#[test]
fn it_says_who_it_is_and_imports_types_only() {
    let policy = embedded();
    assert_eq!(policy.name(), "lockkeeper-policy");
    assert_eq!(policy.version(), env!("CARGO_PKG_VERSION"));
    assert_eq!(policy.imports(), ["lockkeeper:policy/types@0.2.0"]);
    let mut exports = policy.exports().to_vec();
    exports.sort_unstable();
    assert_eq!(
        exports,
        [
            "approve-restore",
            "metadata",
            "on-event",
            "plan-checkpoint",
            "plan-compaction",
            "plan-holds",
            "plan-retention",
            "plan-snapshot",
            "plan-sync",
            "plan-verification",
            "validate"
        ]
    );
    assert_eq!(policy.size(), lockkeeper_component::DEFAULT_POLICY.len());
    assert_eq!(policy.digest().len(), 64);
}

#[test]
fn it_is_compiled_once_in_a_process() {
    assert!(std::ptr::eq(embedded().name(), embedded().name()));
}

#[tokio::test]
async fn it_is_compiled_from_asynchronous_code_too() {
    // The embedded source itself would be found compiled.
    let bytes = lockkeeper_component::DEFAULT_POLICY.to_vec();
    let policy = Component::load(&PolicySource::Bytes(bytes)).unwrap();
    assert_eq!(policy.name(), "lockkeeper-policy");
}

#[test]
fn a_valid_configuration_gives_a_plan() {
    let text = "dbs:\n  - path: app.db\n    replica:\n      type: file\n      path: /backup\n";
    let found = embedded().validate(text, &["file"]).unwrap();
    assert!(found.is_valid(), "{:?}", found.diagnostics());
    let plan = found.into_plan().unwrap();
    assert_eq!(plan.databases.len(), 1);
    assert_eq!(plan.databases[0].path.as_deref(), Some("app.db"));
    assert_eq!(plan.databases[0].replica.kind, "file");
}

#[test]
fn a_diagnostic_has_the_position_of_what_is_wrong() {
    let text = "dbs:\n  - path: app.db\n    replica:\n      type: file\n      path: /backup\n      colour: red\n";
    let found = embedded().validate(text, &["file"]).unwrap();
    assert!(!found.is_valid());
    let position = Some(Position { line: 6, column: 7 });
    let at_key = |it: &&Diagnostic| it.position == position && it.message.contains("colour");
    assert!(
        found.diagnostics().iter().any(|it| at_key(&it)),
        "{:?}",
        found.diagnostics()
    );
}

#[test]
fn a_kind_of_replica_that_the_host_does_not_have_is_an_error() {
    let text = "dbs:\n  - path: app.db\n    replica:\n      type: file\n      path: /backup\n";
    let found = embedded().validate(text, &["s3"]).unwrap();
    assert!(!found.is_valid());
}

#[test]
fn secrets_are_in_the_plan_and_not_in_its_debug_output() {
    let text = "dbs:\n  - path: app.db\n    replica:\n      type: s3\n      bucket: b\n      access-key-id: AKIACANARY\n      secret-access-key: canary-5d2e\n";
    let found = embedded().validate(text, &["s3"]).unwrap();
    let debug = format!("{found:?}");
    assert!(!debug.contains("canary-5d2e"), "{debug}");
    let plan = found.into_plan().unwrap();
    assert!(!format!("{plan:?}").contains("canary-5d2e"));
    let settings = &plan.databases[0].replica.settings;
    let secret = settings.iter().find(|it| it.name == "secret-access-key");
    let expected = Value::Secret(Secret::new("canary-5d2e".to_owned()));
    assert_eq!(secret.unwrap().value, expected);
}

#[track_caller]
fn is_refused_within_bounds(text: &str) {
    let found = embedded().validate(text, &["file"]).unwrap();
    assert!(!found.is_valid());
    assert!(
        found
            .diagnostics()
            .iter()
            .any(|it| it.severity == Severity::Error)
    );
    let used = found.memory_bytes();
    assert!(used < MEMORY_BYTES_MAX, "{used} bytes");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    is_refused_within_bounds(&text);
}

#[test]
fn deep_nesting_is_refused() {
    is_refused_within_bounds(&"[".repeat(200_000));
    is_refused_within_bounds(&"- ".repeat(200_000));
    let deep: String = (0..1000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    is_refused_within_bounds(&deep);
}

#[test]
fn a_list_of_many_megabytes_is_refused() {
    is_refused_within_bounds(&format!("dbs: [{}]", "a,".repeat(13 << 19)));
}

#[test]
fn a_configuration_larger_than_the_sandbox_is_not_handed_over() {
    let text = " ".repeat((16 << 20) + 1);
    let error = embedded().validate(&text, &["file"]).unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
}

fn pages() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..50_u32, any::<u32>()]
}

fn ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..5000_u64, any::<u64>()]
}

fn sync_facts() -> impl Strategy<Value = SyncFacts> {
    (any::<u64>(), ms(), option::of(ms()), 0..9_u32, ms()).prop_map(
        |(now_ms, age, since, failures, interval)| SyncFacts {
            now_ms,
            committed: 7,
            spooled: 6,
            durable: 5,
            pending_bytes: 4120,
            unsent_transactions: 1,
            oldest_pending_age_ms: age,
            since_last_sync_ms: since,
            last_put_latency_ms: since,
            consecutive_failures: failures,
            sync_interval_ms: interval,
            budget_left: failures,
        },
    )
}

fn checkpoint_facts() -> impl Strategy<Value = CheckpointFacts> {
    let flags = (any::<bool>(), any::<bool>());
    (pages(), ms(), flags, pages(), pages(), ms()).prop_map(
        |(wal_pages, since, (written, running), min, truncate, interval)| CheckpointFacts {
            now_ms: 0,
            wal_pages,
            since_last_checkpoint_ms: since,
            written_since_last_checkpoint: written,
            snapshot_running: running,
            writer_idle_ms: since,
            oldest_reader_age_ms: None,
            budget_left: 0,
            min_checkpoint_pages: min,
            truncate_pages: truncate,
            checkpoint_interval_ms: interval,
        },
    )
}

fn verification_facts() -> impl Strategy<Value = VerificationFacts> {
    (0..5_u64, 0..5_u64, 0..2000_u64, 0..2000_u64).prop_map(
        |(durable, verified, since_last_verification_ms, validation_interval_ms)| {
            VerificationFacts {
                durable,
                verified,
                since_last_verification_ms,
                validation_interval_ms,
                ..VerificationFacts::default()
            }
        },
    )
}

fn snapshot_facts() -> impl Strategy<Value = SnapshotFacts> {
    let snapshots = proptest::collection::vec((1..10_u64, 0..100_000_i64), 0..3);
    (0..100_000_u64, 0..10_u64, snapshots, 0..70_000_u64).prop_map(
        |(now_ms, durable, snapshots, interval)| SnapshotFacts {
            now_ms,
            durable,
            snapshots: snapshots
                .into_iter()
                .map(|(max, at)| file(max, at))
                .collect(),
            snapshot_interval_ms: interval,
            ..SnapshotFacts::default()
        },
    )
}

fn file(max: u64, created_ms: i64) -> ReplicaFile {
    let max = Txid::new(max).unwrap();
    ReplicaFile {
        level: Level::SNAPSHOT,
        name: FileName::new(TxidRange::new(Txid::FIRST, max).unwrap()),
        size: 1,
        created_ms,
    }
}

#[test]
fn the_newest_snapshot_counts_in_whatever_order_they_are_listed() {
    let policy = Policy::new(embedded());
    let (old, recent) = (file(5, 1_000), file(3, 99_000));
    for snapshots in [vec![old, recent], vec![recent, old]] {
        let facts = SnapshotFacts {
            now_ms: 99_500,
            durable: 6,
            snapshots,
            snapshot_interval_ms: 50_000,
            ..SnapshotFacts::default()
        };
        assert!(policy.plan_snapshot(&facts).is_some(), "{facts:?}");
    }
}

#[test]
fn it_holds_nothing_approves_and_tells_as_the_built_in_rules_do() {
    let policy = Policy::new(embedded());
    assert_eq!(
        policy.plan_holds(&HoldFacts::default()),
        Ok(Holds::default())
    );
    assert_eq!(policy.approve_restore(&RestoreFacts::default()), Ok(()));
    for begins in [true, false] {
        let event = Event {
            code: "log-held".into(),
            begins,
            severity: lockkeeper_core::policy::Severity::Error,
            message: "a reader".into(),
            ..Event::default()
        };
        assert_eq!(alerts(&policy, &event), fallback::on_event(&event));
    }
    assert_eq!((policy.stats().calls, policy.stats().failures), (4, 0));
}

proptest! {
    #[test]
    fn it_decides_as_the_built_in_rules_do(
        sync in sync_facts(), checkpoint in checkpoint_facts(), snapshot in snapshot_facts(),
        verification in verification_facts(),
    ) {
        let policy = Policy::new(embedded());
        let built_in = proposals::sync(&sync, fallback::plan_sync(&sync));
        prop_assert_eq!(policy.plan_sync(&sync), built_in.decision.wait_ms);
        prop_assert_eq!(policy.plan_checkpoint(&checkpoint), fallback::plan_checkpoint(&checkpoint));
        prop_assert_eq!(
            policy.plan_snapshot(&snapshot).is_some(),
            fallback::plan_snapshot(&snapshot).is_some()
        );
        prop_assert_eq!(
            policy.plan_verification(&verification).is_some(),
            fallback::plan_verification(&verification).is_some()
        );
        prop_assert_eq!(policy.stats().failures, 0);
        prop_assert_eq!(policy.stats().calls, 4);
    }
}
