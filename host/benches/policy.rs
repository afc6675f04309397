//! What a policy component costs: once to compile, and for each call in an instance of its own.
//! `docs/policy-cost.md` has the results.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot run has no result"
)]

use divan::Bencher;
use divan::counter::ItemsCount;
use lockkeeper::policy::decision::Facts;
use lockkeeper::policy::{Component, PolicySource, vectors};

/// Databases that are asked about in one tick.
const DATABASES: usize = 1000;
const CONFIGURATION: &str = "\
dbs:
  - path: app.db
    replica:
      type: file
      path: /backup
";

/// Calls at a time while memory is counted: as many as the sandbox has places for.
const CALLS: usize = 16;

fn main() {
    // First: what stays is used again.
    if let Some(added) = memory_of_decisions() {
        println!("{CALLS} calls at a time, thousands of decisions: {added} KiB of memory added");
    }
    divan::main();
}

#[divan::bench(sample_count = 20)]
fn compile(bencher: Bencher<'_, '_>) {
    let source = PolicySource::Bytes(lockkeeper_component::DEFAULT_POLICY.to_vec());
    bencher.bench(|| Component::load(&source).expect("the component loads"));
}

#[divan::bench]
fn validate(bencher: Bencher<'_, '_>) {
    let policy = embedded();
    bencher.bench(|| {
        let found = policy.validate(CONFIGURATION, &["file"]);
        assert!(found.expect("it answers").is_valid());
    });
}

/// Decisions about each of the facts that every component is tried with; divan prints how many of
/// them fit in a second. To begin a trial takes some of them.
#[divan::bench(args = names(), sample_count = 50)]
fn decisions(bencher: Bencher<'_, '_>, name: &str) {
    ask(bencher, name, 100);
}

#[divan::bench(sample_count = 50)]
fn tick(bencher: Bencher<'_, '_>) {
    let sync = vectors::all()
        .into_iter()
        .find(|(_, facts)| matches!(facts, Facts::Sync(_)));
    ask(bencher, sync.expect("one is about a sync").0, DATABASES);
}

fn ask(bencher: Bencher<'_, '_>, name: &str, times: usize) {
    let (_, facts) = vectors::all()
        .into_iter()
        .find(|(it, _)| *it == name)
        .expect("it is one of them");
    let policy = embedded();
    bencher.counter(ItemsCount::new(times)).bench(|| {
        let asked = policy.on_trial(|trial| {
            for _ in 0..times {
                trial.propose(&facts).expect("it answers");
            }
        });
        asked.expect("there is a thread");
    });
}

/// What the decisions of all instances leave in this process, in KiB; `None` where the kernel does
/// not say.
fn memory_of_decisions() -> Option<u64> {
    let policy = embedded();
    let before = resident_kib()?;
    std::thread::scope(|scope| {
        for _ in 0..CALLS {
            scope.spawn(|| {
                policy.on_trial(|trial| {
                    for (_, facts) in (0..20).flat_map(|_| vectors::all()) {
                        trial.propose(&facts).expect("it answers");
                    }
                })
            });
        }
    });
    Some(resident_kib()?.saturating_sub(before))
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn names() -> Vec<&'static str> {
    vectors::all().into_iter().map(|(name, _)| name).collect()
}

fn embedded() -> Component {
    Component::load(&PolicySource::Embedded).expect("the component loads")
}
