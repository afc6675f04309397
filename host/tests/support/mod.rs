//! LTX files and replicas that tests make by hand.

use lockkeeper::store::{Replica, body_from_bytes};
use lockkeeper_ltx::{
    Encoder, FileName, Header, Level, PageEncoding, PageSize, Pgno, Txid, TxidRange, WalSpan,
};

/// Bytes per page of every file made here.
pub(crate) const PAGE_LEN: usize = 512;

pub(crate) fn txid(n: u64) -> Txid {
    Txid::new(n).unwrap()
}

/// The name of a file from transaction `min` to `max`.
pub(crate) fn name(min: u64, max: u64) -> FileName {
    FileName::new(TxidRange::new(txid(min), txid(max)).unwrap())
}

/// A file after which the database has `commit` pages; each page is filled with one byte.
pub(crate) fn ltx(name: FileName, commit: u32, pages: &[(u32, u8)]) -> Vec<u8> {
    let pages: Vec<_> = pages
        .iter()
        .map(|&(n, fill)| (n, [fill; PAGE_LEN]))
        .collect();
    let pages = pages.iter().map(|(n, page)| (*n, page.as_slice()));
    ltx_of(name, PAGE_LEN, commit, pages)
}

/// A file with these pages.
pub(crate) fn ltx_of<'a>(
    name: FileName,
    page_len: usize,
    commit: u32,
    pages: impl Iterator<Item = (u32, &'a [u8])>,
) -> Vec<u8> {
    let page_size = PageSize::new(page_len as u32).unwrap();
    let header = Header::new(page_size, commit, name.range(), 0, WalSpan::default());
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(header, PageEncoding::Block, &mut bytes).unwrap();
    for (pgno, page) in pages {
        let pgno = Pgno::new(pgno).unwrap();
        encoder.page(pgno, page, &mut bytes).unwrap();
    }
    encoder.finish(&mut bytes).unwrap();
    bytes
}

/// Makes a file of a replica, in place of one that is there.
pub(crate) async fn put(replica: &Replica, level: u8, name: FileName, bytes: Vec<u8>) {
    let level = Level::new(level).unwrap();
    replica.delete(level, name).await.unwrap();
    let created_ms = name.range().max().get().cast_signed();
    let put = replica.put(level, name, created_ms, body_from_bytes(bytes));
    put.await.unwrap();
}

/// The database with these pages, each filled with one byte.
pub(crate) fn database(pages: &[u8]) -> Vec<u8> {
    pages.iter().flat_map(|&fill| [fill; PAGE_LEN]).collect()
}
