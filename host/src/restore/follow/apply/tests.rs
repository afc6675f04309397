use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use lockkeeper_ltx::{Encoder, FileName, Level, PageEncoding, TxidRange, WalSpan};

use super::*;
use crate::ErrorKind;
use crate::restore::feed;

const PAGE_LEN: usize = 512;

/// A database that is followed at transaction 1, and what it becomes with the second.
struct Followed {
    dir: tempfile::TempDir,
    path: PathBuf,
    before: Vec<u8>,
    ltx: Vec<u8>,
}

/// Grows by some pages.
const GROW: &str = "UPDATE t SET a = 2; INSERT INTO big VALUES (zeroblob(9000))";
/// Loses pages at its end.
const SHRINK: &str = "UPDATE t SET a = 2; DELETE FROM big";

fn followed(change: &str) -> Followed {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    // Random bytes, so that no two pages and no two checksums are alike.
    let setup = "PRAGMA page_size=512; PRAGMA auto_vacuum=full;
                 CREATE TABLE t (a, pad); CREATE TABLE big (b);
                 INSERT INTO t VALUES (1, randomblob(420));
                 INSERT INTO big VALUES (randomblob(4000))";
    connection.execute_batch(setup).unwrap();
    let before = fs::read(&path).unwrap();
    connection.execute_batch(change).unwrap();
    drop(connection);
    let after = fs::read(&path).unwrap();
    fs::write(&path, &before).unwrap();
    fs::write(dir.path().join("a.db-txid"), "0000000000000001\n").unwrap();

    let header = Header::new(
        PageSize::new(PAGE_LEN as u32).unwrap(),
        (after.len() / PAGE_LEN) as u32,
        range(),
        0,
        WalSpan::default(),
    );
    let mut ltx = Vec::new();
    let mut encoder = Encoder::new(header, PageEncoding::Block, &mut ltx).unwrap();
    // Without the first page: a log holds it only if something on it has changed.
    for (n, page) in after.chunks(PAGE_LEN).enumerate().skip(1) {
        if before.chunks(PAGE_LEN).nth(n) != Some(page) {
            let pgno = Pgno::new(n as u32 + 1).unwrap();
            encoder.page(pgno, page, &mut ltx).unwrap();
        }
    }
    encoder.finish(&mut ltx).unwrap();
    Followed {
        dir,
        path,
        before,
        ltx,
    }
}

fn range() -> TxidRange {
    TxidRange::single(Txid::new(2).unwrap())
}

fn file() -> ReplicaFile {
    ReplicaFile {
        level: Level::L0,
        name: FileName::new(range()),
        size: 0,
        created_ms: 0,
    }
}

fn apply(applier: &mut Applier, ltx: &[u8]) -> Result<Txid> {
    let (sender, feed) = feed::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        assert!(sender.bytes(Bytes::copy_from_slice(ltx)).await.is_ok());
        assert!(sender.end_of_file().await.is_ok());
    });
    applier.apply(&file(), feed)
}

fn value(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT a FROM t", [], |row| row.get(0))
        .unwrap()
}

#[track_caller]
fn assert_whole(path: &Path, expected: i64) {
    let connection = Connection::open(path).unwrap();
    assert_eq!(value(&connection), expected);
    let verdict = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(verdict.unwrap(), "ok");
}

#[test]
fn a_reader_holds_an_update_back_and_sees_it_afterwards() {
    let followed = followed(GROW);
    let mut applier = Applier::open(&followed.path, Duration::ZERO).unwrap();
    let reader = Connection::open(&followed.path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(value(&reader), 1);
    let error = apply(&mut applier, &followed.ltx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(fs::read(&followed.path).unwrap() == followed.before);
    assert_eq!(applier.txid(), Txid::FIRST);

    // What the reader keeps in memory must not outlive the update.
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(value(&reader), 1);
    assert_eq!(apply(&mut applier, &followed.ltx).unwrap(), range().max());
    assert_eq!(value(&reader), 2);
    drop((reader, applier));
    assert_whole(&followed.path, 2);
    assert_eq!(fs::read_dir(followed.dir.path()).unwrap().count(), 2);
}

#[test]
fn an_update_that_a_crash_cuts_off_is_rolled_back() {
    for change in [GROW, SHRINK] {
        crash_and_go_on(&followed(change));
    }
}

fn crash_and_go_on(followed: &Followed) {
    let applier = Applier::open(&followed.path, Duration::ZERO).unwrap();
    let spool = followed.dir.path().join("spool");
    fs::write(&spool, &followed.ltx).unwrap();
    let source = Source {
        file: &file(),
        spool: &File::open(&spool).unwrap(),
    };
    let pages = applier.pages().unwrap();
    let header = source
        .verify(applier.page_size, Txid::FIRST, pages)
        .unwrap();
    applier.write_journal(&source, &header).unwrap();
    applier.write_pages(&source, &header).unwrap();
    // As far as it got, and pages that were written in part.
    let pages_written = source.each_page(|pgno, _| {
        let offset = pgno.offset(applier.page_size) + 100;
        if u64::from(pages) * PAGE_LEN as u64 > offset {
            applier.file.write_all_at(&[0xee; 300], offset).unwrap();
        }
        Ok(())
    });
    pages_written.unwrap();
    drop(applier);

    let crashed = tempfile::tempdir().unwrap();
    for name in ["a.db", "a.db-journal", "a.db-txid"] {
        fs::copy(followed.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    assert_whole(&crashed.path().join("a.db"), 1);
    assert!(fs::read(crashed.path().join("a.db")).unwrap() == followed.before);

    // Whoever follows rolls back as well, and goes on.
    let mut applier = Applier::open(&followed.path, Duration::ZERO).unwrap();
    apply(&mut applier, &followed.ltx).unwrap();
    drop(applier);
    assert_whole(&followed.path, 2);
}

#[test]
fn what_was_applied_but_not_noted_is_applied_again() {
    let followed = followed(GROW);
    for _ in 0..2 {
        fs::write(followed.dir.path().join("a.db-txid"), "0000000000000001\n").unwrap();
        let mut applier = Applier::open(&followed.path, Duration::ZERO).unwrap();
        apply(&mut applier, &followed.ltx).unwrap();
        drop(applier);
        assert_whole(&followed.path, 2);
    }
}

#[test]
fn a_file_without_pages_by_which_the_database_grew_is_refused() {
    let followed = followed(GROW);
    let mut applier = Applier::open(&followed.path, Duration::ZERO).unwrap();
    let header = Header::new(applier.page_size, 200, range(), 0, WalSpan::default());
    let mut ltx = Vec::new();
    let encoder = Encoder::new(header, PageEncoding::Block, &mut ltx).unwrap();
    encoder.finish(&mut ltx).unwrap();
    let error = apply(&mut applier, &ltx).unwrap_err();
    assert!(error.to_string().contains("lacks pages"), "{error}");
    assert!(fs::read(&followed.path).unwrap() == followed.before);
}
