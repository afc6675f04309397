//! What was written while nobody captured it: found by comparing pages with their hashes.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const PAGES: u32 = 200;

impl Fixture {
    /// A database of some size that was captured, and is left alone now.
    fn captured(page_size: u32) -> Self {
        let fixture = Self::new(page_size);
        fixture.fill(PAGES * page_size / 1000);
        let mut capture = fixture.capture();
        seal_all(&mut capture);
        fixture.insert(10);
        seal_all(&mut capture);
        capture.keep_hashes();
        fixture
    }

    fn fill(&self, rows: u32) {
        self.app
            .execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                 INSERT INTO t (x) SELECT randomblob(900) FROM n",
                [rows],
            )
            .unwrap();
    }

    /// Copies everything into the database and begins a new log, twice: what the log held is gone.
    fn lose_the_log(&self) {
        for _ in 0..2 {
            self.insert(10);
            self.checkpoint();
        }
    }

    fn checkpoint(&self) {
        self.app
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
    }

    fn hashes(&self) -> PathBuf {
        self.dir.path().join(".app.db-litestream/page-hashes")
    }

    fn local(&self, txid: u64) -> PathBuf {
        let name = FileName::new(TxidRange::single(Txid::new(txid).unwrap()));
        let folder = self.dir.path().join(".app.db-litestream/ltx/0");
        folder.join(name.to_string())
    }

    /// Captures again, and how that was.
    #[track_caller]
    fn go_on(&self) -> Sealed {
        let mut capture = self.capture();
        let sealed = seal_all(&mut capture);
        assert_restores(self, &capture);
        sealed[0]
    }
}

fn pages_of(fixture: &Fixture, sealed: Sealed) -> usize {
    let file = std::fs::File::open(fixture.local(sealed.txid().get())).unwrap();
    let mut reader = Reader::new(file);
    std::iter::from_fn(|| reader.next_page().unwrap().map(drop)).count()
}

#[test]
fn writes_while_nobody_captured_make_a_small_file() {
    for page_size in [512, 4096, 65536] {
        let fixture = Fixture::captured(page_size);
        fixture.lose_the_log();
        let sealed = fixture.go_on();
        assert!(matches!(sealed, Sealed::Compared(_)), "{sealed:?}");
        let pages = pages_of(&fixture, sealed);
        assert!(pages < 10, "{pages} pages of {page_size}");
    }
}

#[test]
fn without_hashes_or_with_damaged_ones_every_page_is_sealed() {
    let damages: [fn(&Path); 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[20] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
    ];
    for damage in damages {
        let fixture = Fixture::captured(4096);
        fixture.lose_the_log();
        damage(&fixture.hashes());
        assert!(matches!(fixture.go_on(), Sealed::Full(_)));
    }
}

#[test]
fn wrong_hashes_cost_space_and_nothing_else() {
    let fixture = Fixture::captured(4096);
    fixture.lose_the_log();
    let mut bytes = std::fs::read(fixture.hashes()).unwrap();
    bytes[64..].fill(0xAA);
    std::fs::write(fixture.hashes(), bytes).unwrap();
    let sealed = fixture.go_on();
    assert!(matches!(sealed, Sealed::Compared(_)));
    assert!(pages_of(&fixture, sealed) >= PAGES as usize);
}

#[test]
fn hashes_that_were_not_written_are_made_again_from_the_local_files() {
    let fixture = Fixture::captured(4096);
    let mut capture = fixture.capture();
    for _ in 0..3 {
        fixture.insert(3000);
        seal_all(&mut capture);
    }
    drop(capture);
    fixture.lose_the_log();
    let sealed = fixture.go_on();
    assert!(matches!(sealed, Sealed::Compared(_)));
    assert!(pages_of(&fixture, sealed) < 10);
}

#[test]
fn hashes_are_not_used_when_a_local_file_after_their_base_is_missing() {
    let fixture = Fixture::captured(4096);
    let mut capture = fixture.capture();
    for _ in 0..3 {
        fixture.insert(3000);
        seal_all(&mut capture);
    }
    let last = capture.last().unwrap().get();
    drop(capture);
    fixture.lose_the_log();
    std::fs::remove_file(fixture.local(last - 1)).unwrap();
    let mut capture = fixture.capture();
    assert!(matches!(seal_all(&mut capture)[..], [Sealed::Full(_), ..]));
}

#[test]
fn hashes_that_are_newer_than_the_newest_local_file_are_not_used() {
    let fixture = Fixture::captured(4096);
    let mut capture = fixture.capture();
    // The last file changes one page. With it gone, a hash of it would hide that change.
    fixture
        .app
        .execute("UPDATE t SET x = randomblob(900) WHERE id = 50", [])
        .unwrap();
    seal_all(&mut capture);
    capture.keep_hashes();
    let last = capture.last().unwrap().get();
    drop(capture);
    fixture.lose_the_log();
    std::fs::remove_file(fixture.local(last)).unwrap();
    assert!(matches!(fixture.go_on(), Sealed::Full(_)));
}

#[test]
fn a_flush_that_a_crash_cut_off_is_made_good_or_not_used() {
    let fixture = Fixture::captured(4096);
    let old = std::fs::read(fixture.hashes()).unwrap();
    let mut capture = fixture.capture();
    fixture
        .app
        .execute("UPDATE t SET x = randomblob(900) WHERE id % 7 = 0", [])
        .unwrap();
    seal_all(&mut capture);
    let last = capture.last().unwrap();
    capture.keep_hashes();
    drop(capture);
    let new = std::fs::read(fixture.hashes()).unwrap();
    assert_eq!(old.len(), new.len());
    // As after the first step, with every other hash already written.
    let mut cut_off: Vec<u8> = old
        .chunks(16)
        .zip(new.chunks(16))
        .enumerate()
        .flat_map(|(at, (old, new))| if at % 2 == 0 { old } else { new })
        .copied()
        .collect();
    cut_off[..64].copy_from_slice(&begun(&old, last));
    std::fs::write(fixture.hashes(), &cut_off).unwrap();
    fixture.lose_the_log();
    let sealed = fixture.go_on();
    assert!(matches!(sealed, Sealed::Compared(_)));
    assert!(pages_of(&fixture, sealed) < 10);

    let files: Vec<u64> = (last.get()..=sealed.txid().get()).collect();
    for txid in files {
        std::fs::remove_file(fixture.local(txid)).unwrap();
    }
    std::fs::write(fixture.hashes(), &cut_off).unwrap();
    assert!(matches!(fixture.go_on(), Sealed::Full(_)));
}

/// The header of `file` with a flush to `last` begun.
fn begun(file: &[u8], last: Txid) -> [u8; 64] {
    let mut header = *file.first_chunk::<64>().unwrap();
    header[24..32].copy_from_slice(&last.get().to_le_bytes());
    let checksum = twox_hash::XxHash3_128::oneshot(&header[..48]);
    header[48..].copy_from_slice(&checksum.to_le_bytes());
    header
}

#[test]
fn growth_shrink_and_vacuum_while_nobody_captured_restore_byte_for_byte() {
    let statements = [
        "DELETE FROM t WHERE id % 3 > 0; PRAGMA incremental_vacuum;",
        "DELETE FROM t WHERE id > 20; VACUUM;",
        "INSERT INTO t (x) SELECT randomblob(2000) FROM t;",
        "DELETE FROM t; VACUUM; INSERT INTO t (x) VALUES (zeroblob(400000));",
    ];
    for statement in statements {
        let fixture = Fixture::captured(4096);
        fixture.app.execute_batch(statement).unwrap();
        fixture.lose_the_log();
        let sealed = fixture.go_on();
        assert!(matches!(sealed, Sealed::Compared(_)), "{statement}");
        fixture.lose_the_log();
        assert!(matches!(fixture.go_on(), Sealed::Compared(_)));
    }
}

#[test]
fn another_page_size_makes_a_full_file() {
    let fixture = Fixture::captured(4096);
    fixture
        .app
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM;
             PRAGMA journal_mode = WAL;",
        )
        .unwrap();
    fixture.insert(10);
    let mut capture = fixture.capture();
    let sealed = seal_all(&mut capture);
    assert!(matches!(sealed[..], [Sealed::Full(_)]), "{sealed:?}");
}

/// Whatever happens between captures, in whatever order, what was sealed makes the database.
#[test]
fn any_order_of_writes_restarts_and_crashes_restores_byte_for_byte() {
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let fixture = Fixture::captured([512, 1024, 4096][random.random_range(0..3)]);
        let mut capture = Some(fixture.capture());
        let mut compared = 0;
        for _ in 0..40 {
            match random.random_range(0..8) {
                0 => fixture.fill(random.random_range(1..60)),
                1 => fixture.insert(random.random_range(1..20_000)),
                2 => drop(fixture.app.execute(
                    "DELETE FROM t WHERE id % ?1 = 0",
                    [random.random_range(2..9)],
                )),
                3 => fixture
                    .app
                    .execute_batch("PRAGMA incremental_vacuum(7)")
                    .unwrap(),
                4 if capture.is_none() => fixture.checkpoint(),
                5 => {
                    if let Some(capture) = &mut capture {
                        capture.checkpoint(false).unwrap();
                    }
                }
                6 => capture = None,
                _ => {
                    let capture = capture.get_or_insert_with(|| fixture.capture());
                    let sealed = seal_all(capture);
                    compared += sealed
                        .iter()
                        .filter(|sealed| matches!(sealed, Sealed::Compared(_)))
                        .count();
                    assert!(
                        !sealed.iter().any(|s| matches!(s, Sealed::Full(_))),
                        "seed {seed}"
                    );
                    assert_restores(&fixture, capture);
                }
            }
        }
        assert!(compared > 0, "seed {seed} never compared");
    }
}

/// The files of a database that nobody has open.
struct Copy(Vec<u8>);

impl Fixture {
    fn copy(&self) -> Copy {
        self.checkpoint();
        Copy(std::fs::read(self.path()).unwrap())
    }

    fn put_back(self, copy: &Copy) -> Self {
        let path = self.path();
        let Self { dir, app } = self;
        drop(app);
        std::fs::write(&path, &copy.0).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("app.db{suffix}")));
        }
        let app = Connection::open(&path).unwrap();
        app.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        Self { dir, app }
    }
}

#[test]
fn pages_that_are_again_as_they_once_were_are_sealed_again() {
    let statements = [
        "UPDATE t SET x = zeroblob(900)",
        "DELETE FROM t WHERE id > 10; VACUUM",
    ];
    for statement in statements {
        for flushed in [false, true] {
            let fixture = Fixture::captured(4096);
            let old = fixture.copy();
            let mut capture = fixture.capture();
            seal_all(&mut capture);
            fixture.app.execute_batch(statement).unwrap();
            seal_all(&mut capture);
            if flushed {
                capture.keep_hashes();
            }
            drop(capture);
            let fixture = fixture.put_back(&old);
            let sealed = fixture.go_on();
            assert!(matches!(sealed, Sealed::Compared(_)), "{statement}");
        }
    }
}

#[test]
fn hashes_of_another_file_with_the_same_number_are_not_used() {
    let fixture = Fixture::captured(4096);
    let mut capture = fixture.capture();
    let last = capture.last().unwrap();
    fixture.insert(10);
    seal_all(&mut capture);
    drop(capture);
    // Somebody else numbered anew and has come to the same transaction.
    std::fs::rename(fixture.local(last.get() + 1), fixture.local(last.get())).unwrap();
    let spool = Spool::open(&fixture.dir.path().join(".app.db-litestream")).unwrap();
    assert!(PageHashes::open(&spool, last).unwrap().is_none());
}
