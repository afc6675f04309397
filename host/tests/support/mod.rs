//! LTX files and replicas that tests make by hand.

use lockkeeper::store::{Replica, body_from_bytes};
use lockkeeper_ltx::{
    Encoder, FileName, Header, Level, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan,
};

/// Bytes per page of every file made here.
pub const PAGE_LEN: usize = 512;

pub fn txid(n: u64) -> Txid {
    Txid::new(n).unwrap()
}

/// The name of a file from transaction `min` to `max`.
pub fn name(min: u64, max: u64) -> FileName {
    FileName::new(TxidRange::new(txid(min), txid(max)).unwrap())
}

/// A file after which the database has `commit` pages; each page is filled with one byte.
pub fn ltx(name: FileName, commit: u32, pages: &[(u32, u8)]) -> Vec<u8> {
    let page_size = PageSize::new(PAGE_LEN as u32).unwrap();
    let header = Header::new(page_size, commit, name.range(), 0, WalSpan::default());
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(header, PageEncoding::Block, &mut bytes).unwrap();
    for &(pgno, fill) in pages {
        let pgno = Pgno::new(pgno).unwrap();
        encoder.page(pgno, &[fill; PAGE_LEN], &mut bytes).unwrap();
    }
    encoder.finish(&mut bytes).unwrap();
    bytes
}

pub async fn put(replica: &Replica, level: u8, name: FileName, bytes: Vec<u8>) {
    let level = Level::new(level).unwrap();
    let created_ms = name.range().max().get().cast_signed();
    let put = replica.put(level, name, created_ms, body_from_bytes(bytes));
    put.await.unwrap();
}

/// The database with these pages, each filled with one byte.
pub fn database(pages: &[u8]) -> Vec<u8> {
    pages.iter().flat_map(|&fill| [fill; PAGE_LEN]).collect()
}
