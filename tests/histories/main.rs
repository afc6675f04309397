//! Random histories of a database: lockkeeper and the official Litestream replicate it, alone or in
//! turn, and what both restore is compared byte for byte.
//!
//! History `n` is a function of `n` alone. `LOCKKEEPER_SEED` is the first to run,
//! `LOCKKEEPER_HISTORIES` how many.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod history;
mod replicator;
mod truth;
mod waiting;
mod world;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lockkeeper_tests::litestream::{FRAMES_ONLY, Litestream, NEWEST};

use history::History;
use world::World;

/// How many histories run if nobody says so: each page size with each pair of programs.
const HISTORIES: u64 = 25;
const FIRST_SEED: u64 = 1;
/// Histories at a time; each of them waits for most of its time.
const WORKERS: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The official programs.
#[derive(Clone, Debug)]
struct Officials {
    newest: Litestream,
    frames_only: Litestream,
}

impl Officials {
    fn find() -> Option<Self> {
        Some(Self {
            newest: Litestream::find(NEWEST)?,
            frames_only: Litestream::find(FRAMES_ONLY)?,
        })
    }
}

/// Runs a history; returns what to print if it failed.
fn run(seed: u64, officials: &Officials) -> Result<(), String> {
    let history = History::of(seed);
    let done = AtomicUsize::new(0);
    let outcome = std::panic::catch_unwind(|| {
        let mut world = World::new(&history, officials);
        for step in &history.steps {
            world.run(step);
            done.fetch_add(1, Ordering::Relaxed);
        }
        world.end();
    });
    outcome.map_err(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked");
        format!(
            "LOCKKEEPER_SEED={seed} LOCKKEEPER_HISTORIES=1 fails in step {}: {why}\n{history}",
            done.load(Ordering::Relaxed)
        )
    })
}

#[test]
fn random_histories_are_restored_byte_for_byte_by_both_programs() {
    let Some(officials) = Officials::find() else {
        return;
    };
    let first = number("LOCKKEEPER_SEED", FIRST_SEED);
    let end = first + number("LOCKKEEPER_HISTORIES", HISTORIES);
    let next = AtomicU64::new(first);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return failures;
                }
                failures.extend(run(seed, &officials).err());
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let failures = workers.into_iter().map(|worker| worker.join().unwrap());
        failures.flatten().collect()
    });
    assert!(
        failures.is_empty(),
        "{} histories failed\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
