//! What a component costs, measured; `docs/policy-cost.md` has the results and the command.
//!
//! A measurement asserts nothing about time: it would say how busy the machine is.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::super::{Component, Policy, PolicySource};
use super::*;

/// Databases that are asked about in one tick.
const DATABASES: u32 = 1000;
const COMPILATIONS: usize = 11;
const DECISIONS: usize = 2000;

fn embedded() -> Component {
    Component::load(&PolicySource::Embedded).unwrap()
}

/// The middle and the worst of one in a hundred.
fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn measured(count: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let time = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    spread((0..count).map(time).collect())
}

/// The memory of this process, in KiB, as the kernel counts it.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

#[test]
#[ignore = "a measurement, to be read"]
fn what_the_default_component_costs() {
    let bytes = lockkeeper_component::DEFAULT_POLICY;
    let source = PolicySource::Bytes(bytes.to_vec());
    println!("component: {} bytes", bytes.len());
    println!(
        "compile and ask who it is: {:?}",
        measured(COMPILATIONS, || drop(Component::load(&source).unwrap()))
    );
    let policy = Policy::new(embedded());
    let before = resident_kib();
    let sync = measured(DECISIONS, || {
        black_box(policy.plan_sync(&sync_facts()));
    });
    println!("plan-sync, p50 and p99: {sync:?}");
    let facts = compaction_facts();
    let compaction = measured(DECISIONS, || {
        black_box(policy.plan_compaction(&facts));
    });
    println!("plan-compaction, p50 and p99: {compaction:?}");
    let tick = measured(20, || {
        for _ in 0..DATABASES {
            black_box(policy.plan_sync(&sync_facts()));
        }
    });
    println!("a tick over {DATABASES} databases: {tick:?}");
    println!(
        "memory that decisions added: {} KiB",
        resident_kib() - before
    );
}
