//! How fast a restore is, against copying the database:
//! `cargo bench -p lockkeeper --bench restore`.
//!
//! Prints one line of JSON per case, times in milliseconds. `LOCKKEEPER_BENCH_MIB` sets the size of
//! the large database.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use lockkeeper::restore::{RestoreOptions, restore};
use lockkeeper::store::Replica;
use lockkeeper_ltx::{
    Encoder, FileName, Header, Level, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const PAGE_LEN: u32 = 4096;
/// Runs per case; the fastest counts.
const RUNS: usize = 3;

/// Writes one file in pieces, so that a large one does not have to fit into memory twice.
async fn put(replica: &Replica, level: Level, range: TxidRange, commit: u32, pages: Vec<u32>) {
    let page_size = PageSize::new(PAGE_LEN).unwrap();
    let header = Header::new(page_size, commit, range, 1, WalSpan::default());
    let mut start = Vec::new();
    let encoder = Encoder::new(header, PageEncoding::Block, &mut start).unwrap();
    let rng = StdRng::seed_from_u64(range.max().get());
    let parts: Vec<Vec<u32>> = pages.chunks(256).map(<[u32]>::to_vec).collect();
    let state = (Some((encoder, start, rng)), parts.into_iter());
    let body = futures::stream::unfold(state, |(state, mut parts)| async move {
        let (mut encoder, mut out, mut rng) = state?;
        let Some(part) = parts.next() else {
            encoder.finish(&mut out).unwrap();
            return Some((Ok(Bytes::from(out)), (None, parts)));
        };
        for pgno in part {
            let pgno = Pgno::new(pgno).unwrap();
            encoder.page(pgno, &page(&mut rng), &mut out).unwrap();
        }
        Some((
            Ok(Bytes::from(out)),
            (Some((encoder, Vec::new(), rng)), parts),
        ))
    });
    let name = FileName::new(range);
    replica.put(level, name, 1, body.boxed()).await.unwrap();
}

/// Compresses to about half of its size, as rows of text and numbers do.
fn page(rng: &mut StdRng) -> Vec<u8> {
    let mut page = vec![0; PAGE_LEN as usize];
    for cell in page.chunks_mut(64) {
        let (random, text) = cell.split_at_mut(28);
        rng.fill(random);
        text.copy_from_slice(b"a row of text that says little, ok..");
    }
    page
}

fn txid(n: u64) -> Txid {
    Txid::new(n).unwrap()
}

/// The best of some restores, and of as many copies of the result.
async fn measure(case: &str, dir: &Path, replica: &Replica) {
    let (mut restore_ms, mut copy_ms) = (f64::MAX, f64::MAX);
    let (output, copied) = (dir.join("restored.db"), dir.join("copied.db"));
    let mut size = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        let done = restore(replica, RestoreOptions::new(&output)).await;
        restore_ms = restore_ms.min(start.elapsed().as_secs_f64() * 1000.0);
        size = done.unwrap().size;
        let start = Instant::now();
        std::fs::copy(&output, &copied).unwrap();
        std::fs::File::open(&copied).unwrap().sync_all().unwrap();
        copy_ms = copy_ms.min(start.elapsed().as_secs_f64() * 1000.0);
        std::fs::remove_file(&output).unwrap();
        std::fs::remove_file(&copied).unwrap();
    }
    let ratio = restore_ms / copy_ms;
    println!(
        r#"{{"case":"{case}","size":{size},"restore_ms":{restore_ms:.1},"copy_and_sync_ms":{copy_ms:.1},"ratio":{ratio:.2}}}"#
    );
}

#[tokio::main]
async fn main() {
    let mib = std::env::var("LOCKKEEPER_BENCH_MIB").map_or(1024, |mib| mib.parse().unwrap());
    let dir = tempfile::tempdir_in(".").unwrap();

    let replica = Replica::file(dir.path().join("large")).unwrap();
    let commit = mib * 256;
    let range = TxidRange::single(txid(1));
    put(
        &replica,
        Level::SNAPSHOT,
        range,
        commit,
        (1..=commit).collect(),
    )
    .await;
    measure("one large snapshot", dir.path(), &replica).await;

    let replica = Replica::file(dir.path().join("many")).unwrap();
    let commit = 2000;
    put(
        &replica,
        Level::SNAPSHOT,
        range,
        commit,
        (1..=commit).collect(),
    )
    .await;
    for n in 2..=3001 {
        let first = u32::try_from(n % 1990).unwrap() + 2;
        let range = TxidRange::single(txid(n));
        put(
            &replica,
            Level::L0,
            range,
            commit,
            vec![1, first, first + 5],
        )
        .await;
    }
    measure("3000 small files", dir.path(), &replica).await;
}
