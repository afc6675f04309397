//! Many small files: restore of a replica that nobody merged yet.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use lockkeeper_ltx::{
    Encoder, FileName, Header, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan,
};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{Figures, Size};
use crate::place::Place;
use crate::process::Running;
use crate::program::Binary;
use crate::quantity::Quantity;
use crate::workload::mix;

const FILES: u32 = 3_000;
const PAGES: u32 = 2_000;
const PAGE_BYTES: u32 = 4_096;

pub(super) fn run(binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
    let level = place.replica(0).join("ltx/0");
    fs::create_dir_all(&level)?;
    write(&level, 1, &(1..=PAGES).collect::<Vec<_>>())?;
    for n in 2..=size.of(FILES) {
        // The first page, as every commit that adds one changes it, and two others.
        let other = 2 + n % (PAGES - 7);
        write(&level, n, &[1, other, other + 5])?;
    }
    let started = Instant::now();
    let mut command = binary.restore(&place.replica(0), &place.path("restored.db"));
    let took = Running::start(&mut command)?.finish(started)?;
    Ok(vec![(Quantity::ManyRestore, took.wall.as_secs_f64())])
}

/// Writes the file of transaction `n`.
fn write(level: &Path, n: u32, pages: &[u32]) -> Result<()> {
    let txid = Txid::new(u64::from(n)).context("transactions count from 1")?;
    let range = TxidRange::single(txid);
    let page_size = PageSize::new(PAGE_BYTES).context("a page size of SQLite")?;
    let header = Header::new(page_size, PAGES, range, 1, WalSpan::default());
    let mut random = StdRng::seed_from_u64(u64::from(n));
    let (mut page, mut file) = (vec![0; page_size.bytes()], Vec::new());
    let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file)?;
    for pgno in pages {
        mix(&mut page, &mut random);
        let pgno = Pgno::new(*pgno).context("pages count from 1")?;
        encoder.page(pgno, &page, &mut file)?;
    }
    encoder.finish(&mut file)?;
    Ok(fs::write(
        level.join(FileName::new(range).to_string()),
        file,
    )?)
}
