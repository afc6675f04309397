//! What a checkpoint does to others who use the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use super::super::checkpoint::BARRIER_FRAMES_MAX;
use super::*;

/// A connection that commits on a thread of its own, as often as it may.
struct Writer {
    stop: Arc<AtomicBool>,
    allowed: Arc<AtomicU32>,
    thread: JoinHandle<rusqlite::Result<()>>,
}

impl Writer {
    fn start(fixture: &Fixture, bytes: u32, busy_timeout: Duration) -> Self {
        let connection = Connection::open(fixture.path()).unwrap();
        connection.busy_timeout(busy_timeout).unwrap();
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
        let (stop, allowed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let (stopping, left) = (Arc::clone(&stop), Arc::clone(&allowed));
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                if left.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                    continue;
                }
                connection.execute("INSERT INTO t (x) VALUES (randomblob(?1))", [bytes])?;
                left.fetch_sub(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self {
            stop,
            allowed,
            thread,
        }
    }

    /// Lets it commit so often, and waits for half of that; gives up when the writer has failed.
    fn let_commit(&self, count: u32) {
        let until = self.allowed.fetch_add(count, Ordering::Relaxed) + count / 2;
        while self.allowed.load(Ordering::Relaxed) > until && !self.thread.is_finished() {
            std::thread::yield_now();
        }
    }

    fn end(self) -> rusqlite::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn little_is_done_while_other_writers_are_kept_out() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    let writer = Writer::start(&fixture, 40_000, Duration::from_secs(30));
    let mut complete = 0;
    for _ in 0..10 {
        writer.let_commit(200);
        let report = capture.checkpoint(false).unwrap();
        assert!(report.frames_behind_barrier <= BARRIER_FRAMES_MAX);
        complete += u32::from(report.complete);
    }
    writer.end().unwrap();
    assert!(complete > 0, "no checkpoint was ever complete");
    seal_all(&mut capture);
    assert_restores(&fixture, &capture);
}

#[test]
fn a_reader_that_holds_the_log_never_blocks_writers_by_way_of_a_checkpoint() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let reader = Connection::open(fixture.path()).unwrap();
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    for _ in 0..2 * BARRIER_FRAMES_MAX {
        fixture.insert(1000);
    }
    // It fails as soon as it would have to wait.
    let writer = Writer::start(&fixture, 1000, Duration::ZERO);
    for _ in 0..20 {
        writer.let_commit(10);
        assert!(!capture.checkpoint(true).unwrap().complete);
    }
    writer.end().unwrap();
    reader.execute_batch("COMMIT").unwrap();
    assert!(capture.checkpoint(true).unwrap().complete);
    seal_all(&mut capture);
    assert_restores(&fixture, &capture);
}

#[test]
fn a_snapshot_is_taken_although_commits_never_pause() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let writer = Writer::start(&fixture, 500, Duration::from_secs(30));
    for _ in 0..10 {
        writer.let_commit(100);
        let mut last = None;
        let each = |sealed: Sealed| last = Some(sealed.txid());
        let (snapshot, _) = capture.snapshot_behind_barrier(each).unwrap().unwrap();
        assert_eq!(Some(snapshot.txid), capture.last());
        assert!(last.is_none_or(|last| last == snapshot.txid));
    }
    writer.end().unwrap();
    seal_all(&mut capture);
    assert_restores(&fixture, &capture);
}
