//! Policies that take each other's place in the running application, while another process makes a
//! thousand commits in a second.
//!
//! What is held to is that no swap loses a transaction, and that none stalls the writer for more
//! than ten milliseconds. A machine that does other things stalls a writer by itself, now and then
//! for longer, and a test cannot forbid that. But what it does by chance it does not do each time:
//! a stall that comes of a way to swap would be there in every swap of that way. So each way is
//! gone ten times, the longest commit beside each swap is looked at, and the least of these is what
//! the way costs. On a machine so busy that it is not within the bound after ten swaps, it goes on,
//! up to [`SWAPS_MAX`]: more chances for chance, none for a stall that is always there. That no
//! swap waits with a lock in its hand, however long a component takes, is shown without a clock in
//! the tests of the library's engine.
//!
//! Commits count that found the database locked: a writer of another process waits for replication
//! in no other way, and a thread that is not given the processor finds no lock.
//!
//! The generation that the store gives is saved before the swap begins: that is a commit like any
//! other, which takes as long as its disk.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lockkeeper::control::Client;
use lockkeeper::policy::{POLICY_FORMAT, POLICY_SCOPE, PolicySource};
use rusqlite::Connection;
use rustix::process::Signal;
use support::{Folder, Running};

const LITESTREAM_YML: &str = "\
socket: {enabled: true, path: ./control.sock}
l0-retention: 24h
dbs:
  - path: ./app.db
    replica: {path: ./litestream-replicas, sync-interval: 50ms}
";

/// A component of the first contract, which is another than the built-in one.
const COMPONENT: &[u8] = include_bytes!("../../../host/src/policy/tests/data/policy-0.1.0.wasm");

/// A thousand commits in a second.
const PACE: Duration = Duration::from_millis(1);
const STALL_MAX: Duration = Duration::from_millis(10);
const SWAPS: usize = 10;
const SWAPS_MAX: usize = 80;
/// A wait that only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same component under another digest: a section that means nothing is added to it.
fn component(number: u8) -> Vec<u8> {
    let section = [0, 6, 4, b't', b'e', b's', b't', number];
    [COMPONENT, &section].concat()
}

/// Whether the writer found the database locked.
static WAS_LOCKED: AtomicBool = AtomicBool::new(false);

fn found_locked(_: i32) -> bool {
    WAS_LOCKED.store(true, Ordering::Release);
    thread::sleep(PACE / 4);
    true
}

/// Whoever commits at a steady pace, seen from outside.
#[derive(Default)]
struct Writer {
    committed: AtomicU64,
    longest_us: AtomicU64,
    is_over: AtomicBool,
}

impl Writer {
    /// Commits until it is over.
    fn run(&self, app: &Connection) {
        let began = Instant::now();
        for n in 0.. {
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            let due = began + PACE * n;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let before = Instant::now();
            app.execute("INSERT INTO written VALUES (?1, ?2)", (n, value(n)))
                .expect("committed");
            let took = u64::try_from(before.elapsed().as_micros()).expect("a duration");
            if WAS_LOCKED.swap(false, Ordering::AcqRel) {
                self.longest_us.fetch_max(took, Ordering::AcqRel);
            }
            self.committed.fetch_add(1, Ordering::Release);
        }
    }

    /// The longest wait for a lock of the commits that were made while `work` was done.
    fn longest_beside(&self, work: impl FnOnce()) -> Duration {
        self.longest_us.store(0, Ordering::Release);
        work();
        // The one that is under way counts as well.
        self.goes_on();
        Duration::from_micros(self.longest_us.load(Ordering::Acquire))
    }

    /// Waits until what is under way, and one more, is committed.
    fn goes_on(&self) {
        let begin = Instant::now();
        let before = self.committed.load(Ordering::Acquire);
        while self.committed.load(Ordering::Acquire) < before + 2 {
            assert!(begin.elapsed() < PATIENCE, "nothing is committed any more");
            thread::sleep(PACE);
        }
    }
}

fn value(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761)
}

/// The running application, and the next component to decide in it.
struct World {
    folder: Folder,
    app: Running,
    client: Client,
    runtime: tokio::runtime::Runtime,
    number: u8,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// A generation is saved and the process gets SIGHUP.
    Signal,
    /// The component is handed over.
    Api,
    /// A generation is saved and the process is asked to take it.
    Store,
}

impl World {
    fn new() -> Self {
        let folder = Folder::without_litestream();
        folder.save("litestream", LITESTREAM_YML, "yml");
        let app = folder.start();
        Self {
            client: Client::new(folder.path("control.sock"), PATIENCE),
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            folder,
            app,
            number: 0,
        }
    }

    fn connection(&self) -> Connection {
        let app = Connection::open(self.folder.path("app.db")).expect("a connection");
        // What a commit of the writer takes is to be its own: checkpoints are made by replication.
        app.execute_batch(
            "PRAGMA busy_timeout = 30000; PRAGMA synchronous = normal;
             PRAGMA wal_autocheckpoint = 0",
        )
        .expect("settings");
        app
    }

    /// Lets another component decide; returns the longest commit beside that.
    fn swap(&mut self, way: Way, writer: &Writer) -> Duration {
        self.number += 1;
        let bytes = component(self.number);
        let digest = PolicySource::Bytes(bytes.clone()).digest();
        let digest = digest.expect("it is small");
        if let Way::Signal | Way::Store = way {
            self.folder.save_bytes(POLICY_SCOPE, &bytes, POLICY_FORMAT);
        }
        let Self {
            app,
            client,
            runtime,
            ..
        } = self;
        let longest = writer.longest_beside(|| match way {
            Way::Signal => {
                app.signal(Signal::HUP);
                app.wait_for("the configuration was read again");
            }
            Way::Api => {
                let install = client.install_policy(bytes, Some(&digest), 1, 10);
                drop(runtime.block_on(install).expect("installed"));
            }
            Way::Store => drop(runtime.block_on(client.reload_policy()).expect("installed")),
        });
        let deciding = runtime.block_on(client.policy()).expect("an answer");
        let component = deciding.component.expect("one decides");
        assert_eq!(component.sha256, digest, "{way:?}");
        longest
    }

    /// The least stall beside the swaps of one way.
    fn cost_of(&mut self, way: Way, writer: &Writer) -> Duration {
        let mut stalls = Vec::new();
        loop {
            stalls.push(self.swap(way, writer));
            let least = *stalls.iter().min().expect("one swap");
            let is_enough = stalls.len() >= SWAPS && least <= STALL_MAX;
            if is_enough || stalls.len() >= SWAPS_MAX {
                stalls.sort_unstable();
                let (middle, most) = (stalls[stalls.len() / 2], stalls[stalls.len() - 1]);
                println!(
                    "{way:?}: {} swaps; the longest wait beside one took {least:?} at best, \
                     {middle:?} in the middle, {most:?} at worst",
                    stalls.len()
                );
                return least;
            }
        }
    }
}

/// The names of files are the ranges of their transactions.
fn no_transaction_is_missing(folder: &Folder) {
    let entries = fs::read_dir(folder.path("litestream-replicas/ltx/0")).expect("a level");
    let mut ranges: Vec<(u64, u64)> = entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            let name = name.to_string_lossy();
            let range = name.strip_suffix(".ltx").and_then(|it| it.split_once('-'));
            let (min, max) = range.expect("a range");
            let number = |text| u64::from_str_radix(text, 16).expect("a TXID");
            (number(min), number(max))
        })
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges.first().map(|(min, _)| *min), Some(1));
    for pair in ranges.windows(2) {
        assert_eq!(pair[1].0, pair[0].1 + 1, "a TXID is missing");
    }
}

/// Everything that was committed is in the replica, as it was written.
fn all_comes_back(folder: &Folder, committed: u64) {
    let output = folder.path("restored.db");
    folder.restore("litestream-replicas", &output);
    let restored = Connection::open(output).expect("restored");
    let mut rows = restored
        .prepare("SELECT n, value FROM written ORDER BY n")
        .expect("the table");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let mut count = 0;
    for (row, n) in rows.expect("rows").zip(0..) {
        assert_eq!(row.expect("a row"), (n, value(n)));
        count += 1;
    }
    assert_eq!(count, committed, "commits are lost");
}

#[test]
fn a_swap_by_signal_api_or_store_loses_no_commit_and_stalls_no_writer() {
    let mut world = World::new();
    let mut app = world.connection();
    app.execute_batch("CREATE TABLE written (n INTEGER PRIMARY KEY, value INTEGER)")
        .expect("a table");
    app.busy_handler(Some(found_locked)).expect("a handler");
    let writer = Arc::new(Writer::default());
    let writing = {
        let writer = Arc::clone(&writer);
        thread::spawn(move || writer.run(&app))
    };
    writer.goes_on();
    for way in [Way::Signal, Way::Api, Way::Store] {
        let stall = world.cost_of(way, &writer);
        assert!(stall <= STALL_MAX, "{way:?} stalls a writer for {stall:?}");
    }

    // What would be a stall is seen as one, unless the writer did not run meanwhile.
    let other = world.connection();
    let is_seen = (0..SWAPS_MAX).any(|_| {
        let stall = writer.longest_beside(|| {
            other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
            thread::sleep(STALL_MAX * 3);
            other.execute_batch("COMMIT").expect("the lock is free");
        });
        stall > STALL_MAX
    });
    assert!(is_seen, "a writer that was kept out did not notice");

    writer.is_over.store(true, Ordering::Release);
    writing.join().expect("it wrote");
    let committed = writer.committed.load(Ordering::Acquire);
    world.app.signal(Signal::TERM);
    let (status, log) = world.app.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    no_transaction_is_missing(&world.folder);
    all_comes_back(&world.folder, committed);
}

#[test]
fn a_generation_that_is_saved_decides_though_nobody_says_so() {
    let mut world = World::new();
    let app = world.connection();
    app.execute_batch("CREATE TABLE written (n INTEGER PRIMARY KEY)")
        .expect("a table");
    let decides = |world: &World| {
        let deciding = world.runtime.block_on(world.client.policy());
        let component = deciding.expect("an answer").component;
        component.expect("one decides").sha256
    };
    for _ in 0..2 {
        world.number += 1;
        let bytes = component(world.number);
        let digest = PolicySource::Bytes(bytes.clone()).digest();
        let digest = digest.expect("it is small");
        assert_ne!(decides(&world), digest);
        world.folder.save_bytes(POLICY_SCOPE, &bytes, POLICY_FORMAT);
        let begin = Instant::now();
        while decides(&world) != digest {
            assert!(begin.elapsed() < PATIENCE, "nobody looks at the store");
            // There is something to decide beside the one before.
            app.execute("INSERT INTO written VALUES (NULL)", [])
                .expect("committed");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
