//! Every row of what SQLite does with locks, logs and read marks, and what capture makes of it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use lockkeeper_ltx::{FileName, Reader, TxidRange};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

mod checkpoints;
mod listing;
mod unseen;

struct Fixture {
    dir: TempDir,
    app: Connection,
}

impl Fixture {
    fn new(page_size: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = Connection::open(dir.path().join("app.db")).unwrap();
        app.pragma_update(None, "page_size", page_size).unwrap();
        app.pragma_update(None, "auto_vacuum", 2).unwrap();
        app.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .unwrap();
        app.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        app.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
            .unwrap();
        Self { dir, app }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    fn capture(&self) -> Capture {
        let spool = Spool::open(&self.dir.path().join(".app.db-litestream")).unwrap();
        let options = CaptureOptions {
            database: self.path(),
            busy_timeout: Duration::from_secs(5),
            max_sync_bytes: 0,
            encoding: PageEncoding::Block,
        };
        Capture::open(options, spool, None).unwrap()
    }

    fn insert(&self, bytes: u32) {
        self.app
            .execute("INSERT INTO t (x) VALUES (randomblob(?1))", [bytes])
            .unwrap();
    }

    /// The database as SQLite has it: the log copied into a second file.
    fn truth(&self) -> Vec<u8> {
        let copy = self.dir.path().join("truth.db");
        let _ = std::fs::remove_file(&copy);
        let mut target = Connection::open(&copy).unwrap();
        rusqlite::backup::Backup::new(&self.app, &mut target)
            .unwrap()
            .run_to_completion(10_000, Duration::ZERO, None)
            .unwrap();
        drop(target);
        std::fs::read(&copy).unwrap()
    }
}

fn seal_all(capture: &mut Capture) -> Vec<Sealed> {
    std::iter::from_fn(|| capture.seal_next().unwrap()).collect()
}

/// The database that all sealed files together make.
fn restored(capture: &Capture) -> Vec<u8> {
    let (mut pages, mut commit, mut size) = (HashMap::new(), 0, 0);
    for name in capture.spool().names().unwrap() {
        let mut reader = Reader::new(capture.spool().open_file(name).unwrap());
        let header = reader.header().unwrap();
        (commit, size) = (header.commit, header.page_size.bytes());
        // What a file cuts off is gone, even if a later one is longer again.
        pages.retain(|&pgno, _| pgno <= commit);
        while let Some((pgno, page)) = reader.next_page().unwrap() {
            pages.insert(pgno.get(), page.to_vec());
        }
    }
    (1..=commit)
        .flat_map(|pgno| pages.get(&pgno).cloned().unwrap_or_else(|| vec![0; size]))
        .collect()
}

#[track_caller]
fn assert_restores(fixture: &Fixture, capture: &Capture) {
    let (ours, truth) = (restored(capture), fixture.truth());
    assert_eq!(ours.len(), truth.len(), "size");
    // The backup bumps the change counter and the schema cookie and states who wrote last (bytes 24
    // to 27, 40 to 43 and 92 to 99 of page 1); it changes nothing else.
    let rewritten = [24..28, 40..44, 92..100];
    let differ: Vec<usize> = (0..ours.len())
        .filter(|i| ours[*i] != truth[*i] && !rewritten.iter().any(|bytes| bytes.contains(i)))
        .collect();
    assert!(
        differ.is_empty(),
        "{} bytes differ, first at {:?}",
        differ.len(),
        differ.first()
    );
}

#[test]
fn the_first_file_holds_every_page_and_the_next_ones_what_changed() {
    for page_size in [512, 4096, 65536] {
        let fixture = Fixture::new(page_size);
        fixture.insert(10_000);
        let mut capture = fixture.capture();
        assert_eq!(seal_all(&mut capture), [Sealed::Full(Txid::FIRST)]);
        assert_eq!(seal_all(&mut capture), []);
        fixture.insert(100);
        assert!(matches!(
            seal_all(&mut capture)[..],
            [Sealed::Incremental(_)]
        ));
        assert_restores(&fixture, &capture);
    }
}

#[test]
fn growth_shrink_and_vacuum_restore_byte_for_byte() {
    let fixture = Fixture::new(1024);
    let mut capture = fixture.capture();
    for round in 0..6 {
        for _ in 0..20 {
            fixture.insert(3_000);
        }
        seal_all(&mut capture);
        fixture
            .app
            .execute("DELETE FROM t WHERE id % 3 = 0", [])
            .unwrap();
        if round % 2 == 0 {
            fixture
                .app
                .execute_batch("PRAGMA incremental_vacuum(7)")
                .unwrap();
        } else {
            fixture.app.execute_batch("VACUUM").unwrap();
        }
        seal_all(&mut capture);
        assert_restores(&fixture, &capture);
        capture.checkpoint(round == 3).unwrap();
        seal_all(&mut capture);
        assert_restores(&fixture, &capture);
    }
}

#[test]
fn a_checkpoint_restarts_the_log_and_capture_goes_on_with_increments() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    for _ in 0..5 {
        for _ in 0..10 {
            fixture.insert(100);
        }
        let before = capture.log.header().unwrap().unwrap();
        let report = capture.checkpoint(false).unwrap();
        assert!(report.complete);
        fixture.insert(100);
        let after = capture.log.header().unwrap().unwrap();
        assert_eq!(
            after.salt1,
            before.salt1.wrapping_add(1),
            "one restart adds one to salt-1"
        );
        let sealed = seal_all(&mut capture);
        assert!(
            sealed.iter().all(|s| matches!(s, Sealed::Incremental(_))),
            "{sealed:?}"
        );
        assert_restores(&fixture, &capture);
    }
    assert!(
        std::fs::metadata(capture.log.path()).unwrap().len() < 200_000,
        "the log is reused"
    );
}

#[test]
fn a_log_that_came_and_went_unseen_is_made_up_for_by_comparing_pages() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    capture.pin = None;
    for _ in 0..2 {
        fixture.insert(100);
        fixture
            .app
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
    }
    fixture.insert(100);
    assert!(matches!(
        seal_all(&mut capture)[..],
        [Sealed::Compared(_), ..]
    ));
    assert_restores(&fixture, &capture);
}

#[test]
fn a_reader_that_begins_to_write_after_a_checkpoint_is_not_missed() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    // A reader from before the checkpoint goes on in the old log when it begins to write.
    let other = Connection::open(fixture.path()).unwrap();
    other
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    assert!(capture.begin_barrier().unwrap());
    let mut report = CheckpointReport::default();
    capture.checkpoint_behind_barrier(&mut report).unwrap();
    capture.end_barrier().unwrap();
    assert!(report.complete);
    let salts = |capture: &Capture| capture.log.header().unwrap().unwrap().salt1;
    let before = salts(&capture);
    other
        .execute_batch("INSERT INTO t (x) VALUES (randomblob(100)); COMMIT")
        .unwrap();
    assert_eq!(salts(&capture), before, "it goes on in the old log");
    // Somebody else copies that too, before capture holds the log again.
    let sql = "PRAGMA wal_checkpoint(PASSIVE)";
    fixture.app.query_row(sql, [], |_| Ok(())).unwrap();
    fixture.insert(100);
    assert_eq!(salts(&capture), before.wrapping_add(1), "one restart");
    assert!(matches!(
        seal_all(&mut capture)[..],
        [Sealed::Compared(_), ..]
    ));
    assert_restores(&fixture, &capture);
}

#[test]
fn a_restart_while_nobody_holds_the_log_is_proven_by_the_count_of_transactions() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        fixture.insert(100);
        seal_all(&mut capture);
        capture.pin = None;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        fixture.app.query_row(&sql, [], |_| Ok(())).unwrap();
        for _ in 0..3 {
            fixture.insert(100);
        }
        let sealed = seal_all(&mut capture);
        assert!(
            sealed.iter().all(|s| matches!(s, Sealed::Incremental(_))),
            "{mode}: {sealed:?}"
        );
        assert_restores(&fixture, &capture);
    }
}

#[test]
fn a_writer_that_does_not_let_go_delays_a_checkpoint_and_nothing_else() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    capture.writer.busy_timeout(Duration::ZERO).unwrap();
    fixture.insert(100);
    fixture.app.execute_batch("BEGIN IMMEDIATE").unwrap();
    let report = capture.checkpoint(false).unwrap();
    assert!(!report.complete);
    fixture.app.execute_batch("COMMIT").unwrap();
    assert!(capture.checkpoint(false).unwrap().complete);
    fixture.insert(100);
    let sealed = seal_all(&mut capture);
    assert!(
        sealed.iter().all(|s| matches!(s, Sealed::Incremental(_))),
        "{sealed:?}"
    );
    assert_restores(&fixture, &capture);
}

#[test]
fn the_pin_keeps_every_kind_of_checkpoint_from_restarting_the_log() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let before = capture.log.header().unwrap().unwrap();
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        fixture.app.busy_timeout(Duration::ZERO).unwrap();
        fixture.insert(100);
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let busy: i64 = fixture.app.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, i64::from(mode != "PASSIVE"), "{mode}");
        fixture.insert(100);
        assert_eq!(
            capture.log.header().unwrap().unwrap().salt1,
            before.salt1,
            "{mode}"
        );
    }
    assert!(
        seal_all(&mut capture)
            .iter()
            .all(|s| matches!(s, Sealed::Incremental(_)))
    );
    assert_restores(&fixture, &capture);
}

#[test]
fn a_reader_of_a_fully_copied_log_holds_nothing() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    fixture
        .app
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .unwrap();
    let reader = connection::open(&fixture.path(), Duration::ZERO).unwrap();
    reader
        .execute_batch("BEGIN; SELECT COUNT(*) FROM t")
        .unwrap();
    let log = LogFile::open(&fixture.path()).unwrap();
    let before = log.header().unwrap().unwrap();
    fixture.insert(100);
    assert_ne!(
        log.header().unwrap().unwrap().salt1,
        before.salt1,
        "the log was restarted"
    );
}

#[test]
fn a_restart_of_the_process_goes_on_where_the_last_file_ended() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    drop(capture);
    fixture.insert(100);
    let mut capture = fixture.capture();
    assert!(matches!(
        seal_all(&mut capture)[..],
        [Sealed::Incremental(_)]
    ));
    assert_restores(&fixture, &capture);
}

#[test]
fn a_database_put_back_to_an_older_copy_is_not_mistaken_for_its_own_future() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let (db, wal) = (fixture.path(), fixture.dir.path().join("app.db-wal"));
    let old = (std::fs::read(&db).unwrap(), std::fs::read(&wal).unwrap());
    let mut capture = fixture.capture();
    fixture.insert(100);
    seal_all(&mut capture);
    drop(capture);
    let Fixture { dir, app } = fixture;
    drop(app);
    std::fs::write(&db, old.0).unwrap();
    std::fs::write(&wal, old.1).unwrap();
    let _ = std::fs::remove_file(dir.path().join("app.db-shm"));
    let app = Connection::open(&db).unwrap();
    app.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let fixture = Fixture { dir, app };
    for _ in 0..5 {
        fixture.insert(300);
    }
    let mut capture = fixture.capture();
    assert!(matches!(seal_all(&mut capture)[..], [Sealed::Compared(_)]));
    assert_restores(&fixture, &capture);
}

#[test]
fn a_damaged_newest_file_is_dropped_and_capture_goes_on() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    fixture.insert(100);
    seal_all(&mut capture);
    drop(capture);
    let name = FileName::new(TxidRange::single(Txid::new(2).unwrap()));
    let file = fixture
        .dir
        .path()
        .join(format!(".app.db-litestream/ltx/0/{name}"));
    std::fs::write(&file, b"").unwrap();
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    assert_eq!(capture.last(), Txid::new(2));
    assert_restores(&fixture, &capture);
}

#[test]
fn large_backlogs_are_cut_into_files_at_the_ends_of_transactions() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    capture.options.max_sync_bytes = 64 << 10;
    seal_all(&mut capture);
    for _ in 0..60 {
        fixture.insert(5_000);
    }
    assert!(seal_all(&mut capture).len() > 3);
    assert_restores(&fixture, &capture);
}

#[test]
fn sealing_ends_although_the_application_goes_on_to_commit() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    for _ in 0..3 {
        fixture.insert(10);
        let mut files = 0;
        let each = |_| {
            files += 1;
            assert!(
                files < 10,
                "one more file for each commit that came meanwhile"
            );
            fixture.insert(10);
        };
        capture.seal_committed(each).unwrap();
        assert_eq!(files, 1);
        assert!(capture.is_pending().unwrap());
    }
    capture.seal_committed(drop).unwrap();
    assert!(!capture.is_pending().unwrap());
    assert_restores(&fixture, &capture);
}

#[test]
fn a_sealed_file_that_another_program_replaced_makes_the_next_hold_every_page() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    for _ in 0..3 {
        fixture.insert(100);
        seal_all(&mut capture);
    }
    let last = FileName::new(TxidRange::single(capture.last().unwrap()));
    let path = fixture.dir.path().join(".app.db-litestream/ltx/0");
    let (path, other) = (path.join(last.to_string()), path.join("other"));
    std::fs::copy(&path, &other).unwrap();
    assert!(!capture.is_pending().unwrap());
    std::fs::rename(&other, &path).unwrap();
    assert!(capture.is_pending().unwrap(), "it is looked into at rest");
    assert!(matches!(seal_all(&mut capture)[..], [Sealed::Full(_)]));
    assert!(!capture.is_pending().unwrap());
    fixture.insert(100);
    let next = seal_all(&mut capture);
    assert!(matches!(next[..], [Sealed::Incremental(_)]));
    // A file that was deleted because the replica has it was not replaced.
    std::fs::remove_file(&path).unwrap();
    assert!(!capture.is_pending().unwrap());
    assert_restores(&fixture, &capture);
}

#[test]
fn a_backlog_of_several_files_is_sealed_to_its_end() {
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    capture.options.max_sync_bytes = 10_000;
    capture.seal_committed(drop).unwrap();
    (0..9).for_each(|_| fixture.insert(9_000));
    let mut files = 0;
    capture.seal_committed(|_| files += 1).unwrap();
    assert!(files > 1, "{files}");
    assert!(!capture.is_pending().unwrap());
    assert_restores(&fixture, &capture);
}

#[test]
fn a_snapshot_is_the_database_at_its_transaction_whatever_happens_meanwhile() {
    let fixture = Fixture::new(4096);
    for _ in 0..20 {
        fixture.insert(2_000);
    }
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let snapshot = capture.snapshot().unwrap().unwrap();
    let truth = restored(&capture);
    fixture
        .app
        .execute("UPDATE t SET x = randomblob(3000)", [])
        .unwrap();
    fixture
        .app
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .unwrap();
    let mut file = Vec::new();
    snapshot
        .write(1, &mut |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    let mut reader = Reader::new(file.as_slice());
    assert_eq!(reader.header().unwrap().range.max(), snapshot.txid);
    let mut image = Vec::new();
    while let Some((_, page)) = reader.next_page().unwrap() {
        image.extend_from_slice(page);
    }
    assert!(image == truth, "the snapshot differs");
}

#[test]
fn files_and_folders_are_private_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new(4096);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    let meta = fixture.dir.path().join(".app.db-litestream");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&meta), 0o700);
    assert_eq!(mode(&meta.join("ltx/0")), 0o700);
    let file = meta.join("ltx/0/0000000000000001-0000000000000001.ltx");
    assert_eq!(mode(&file), 0o600);
}

/// Locks that this process holds on a file, as the kernel lists them.
fn locks_on(path: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let file = identity(std::fs::metadata(path).unwrap());
    // Descriptor by descriptor: `/proc/locks` is read in pieces, and may leave out a lock while
    // others come and go.
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|descriptor| descriptor.unwrap())
        .filter(|fd| std::fs::metadata(fd.path()).is_ok_and(|found| identity(found) == file))
        .filter_map(|fd| {
            std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(fd.file_name())).ok()
        })
        .map(|info| info.lines().filter(|l| l.starts_with("lock:")).count())
        .sum()
}

#[test]
fn no_lock_is_lost_while_capture_works() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    let shm = fixture.dir.path().join("app.db-shm");
    for _ in 0..3 {
        fixture.insert(100);
        seal_all(&mut capture);
        capture.checkpoint(false).unwrap();
        seal_all(&mut capture);
        capture.snapshot().unwrap().unwrap();
        assert!(capture.is_in_place());
        assert!(locks_on(&fixture.path()) > 0, "locks on the database");
        assert!(locks_on(&shm) > 0, "locks on -shm");
    }
    // What must never happen, so that the counting above is known to see it.
    drop(std::fs::File::open(fixture.path()).unwrap());
    assert_eq!(
        locks_on(&fixture.path()),
        0,
        "closing any descriptor drops every lock"
    );
}

#[test]
fn a_second_process_that_comes_and_goes_leaves_the_log_alone() {
    let fixture = Fixture::new(4096);
    fixture.insert(100);
    let mut capture = fixture.capture();
    seal_all(&mut capture);
    // This test binary again, running `second_process` alone.
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "capture::tests::second_process",
            "--exact",
            "--include-ignored",
            "--nocapture",
        ])
        .env("LOCKKEEPER_TEST_DATABASE", fixture.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        fixture.dir.path().join("app.db-wal").exists(),
        "the log was deleted"
    );
    fixture.insert(100);
    let sealed = seal_all(&mut capture);
    assert!(
        sealed.iter().all(|s| matches!(s, Sealed::Incremental(_))),
        "{sealed:?}"
    );
    let rows: i64 = fixture
        .app
        .query_row("SELECT COUNT(*) FROM t", [], |r| r.get(0))
        .unwrap();
    assert_eq!(rows, 3, "ours before, theirs, ours after");
    assert_restores(&fixture, &capture);
}

/// The other process of the test above; does nothing when run by itself.
#[test]
fn second_process() {
    let Some(path) = std::env::var_os("LOCKKEEPER_TEST_DATABASE") else {
        return;
    };
    let other = Connection::open(path).unwrap();
    other
        .execute("INSERT INTO t (x) VALUES ('theirs')", [])
        .unwrap();
}
