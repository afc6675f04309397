//! Files made by official binaries, and what must be true of every file.

use std::io::Read;
use std::path::Path;

use lockkeeper_ltx::{
    DecodeError, Decoder, Encoder, Header, Merge, PageEncoding, PageSize, Pgno, Reader, Step, Txid,
    TxidRange, WalSpan,
};
use proptest::prelude::*;

/// Every LTX file of an archive, with its path.
fn files(archive: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(archive);
    let file = std::fs::File::open(path).unwrap();
    let mut files = Vec::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(file))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".ltx") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.push((name, bytes));
        }
    }
    assert!(!files.is_empty(), "{archive} holds no LTX file");
    files
}

type Pages = Vec<(Pgno, Vec<u8>)>;

/// Decodes a file that comes in pieces of `piece` bytes.
fn decode(file: &[u8], piece: usize) -> Result<(Header, Pages), DecodeError> {
    let mut decoder = Decoder::new();
    let (mut header, mut pages) = (None, Vec::new());
    for mut input in file.chunks(piece) {
        loop {
            match decoder.step(&mut input)? {
                Step::NeedMore => break,
                Step::Header(found) => header = Some(found),
                Step::Page(pgno, page) => pages.push((pgno, page.to_vec())),
                Step::End(_) => {}
            }
        }
    }
    decoder.end_of_input()?;
    Ok((header.unwrap(), pages))
}

fn encode(header: Header, encoding: PageEncoding, pages: &Pages) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(header, encoding, &mut file).unwrap();
    for (pgno, page) in pages {
        encoder.page(*pgno, page, &mut file).unwrap();
    }
    encoder.finish(&mut file).unwrap();
    file
}

#[test]
fn official_files_decode_and_survive_both_encodings() {
    for archive in [
        "a_ps512_autovacuum_shrink.tar.gz",
        "c_ps65536_autovacuum_full.tar.gz",
        "d1_v0515_lz4frame_pages.tar.gz",
    ] {
        for (name, file) in files(archive) {
            let (header, pages) = decode(&file, 1000).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(header.to_bytes(), file[..100], "{name}: header");
            for encoding in [PageEncoding::Block, PageEncoding::Frame] {
                let again = encode(header, encoding, &pages);
                assert_eq!(
                    decode(&again, 7).unwrap(),
                    (header, pages.clone()),
                    "{name}"
                );
            }
        }
    }
}

/// A snapshot of three pages, in either encoding.
fn sample(encoding: PageEncoding) -> Vec<u8> {
    let page_size = PageSize::new(512).unwrap();
    let header = Header::new(
        page_size,
        3,
        TxidRange::single(Txid::FIRST),
        7,
        WalSpan::default(),
    );
    let pages = (1..=3_u8)
        .map(|n| {
            (
                Pgno::new(n.into()).unwrap(),
                (0..512).map(|i| (i % 7) as u8 * n).collect(),
            )
        })
        .collect();
    encode(header, encoding, &pages)
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    for encoding in [PageEncoding::Block, PageEncoding::Frame] {
        let file = sample(encoding);
        for len in 0..file.len() {
            let error = decode(&file[..len], 64).unwrap_err();
            assert_eq!(
                error,
                DecodeError::Truncated(len as u64),
                "{encoding:?} at {len}"
            );
        }
    }
}

#[test]
fn a_byte_after_the_end_is_an_error() {
    let mut file = sample(PageEncoding::Block);
    file.push(0);
    assert_eq!(decode(&file, 4096).unwrap_err(), DecodeError::TrailingBytes);
    let mut reader = Reader::new(file.as_slice());
    let result = std::iter::from_fn(|| match reader.next_page() {
        Ok(Some(_)) => Some(Ok(())),
        Ok(None) => None,
        Err(error) => Some(Err(error.to_string())),
    })
    .find(Result::is_err);
    assert!(result.is_some(), "the reader let it pass");
}

#[test]
fn every_flipped_bit_is_noticed() {
    for encoding in [PageEncoding::Block, PageEncoding::Frame] {
        let file = sample(encoding);
        let truth = decode(&file, 4096).unwrap();
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Bytes that nothing but a decompressor reads may change without changing a page.
            if let Ok(found) = decode(&damaged, 4096) {
                assert_eq!(found, truth, "{encoding:?}: bit {bit}");
            }
        }
    }
}

#[test]
fn a_huge_stated_length_is_refused_before_it_is_allocated() {
    let mut file = sample(PageEncoding::Block);
    file[106..110].copy_from_slice(&0xf000_0000_u32.to_be_bytes());
    let reason = "its compressed length is out of range";
    assert_eq!(
        decode(&file, 4096).unwrap_err(),
        DecodeError::Page { pgno: 1, reason }
    );
}

#[test]
fn a_merge_keeps_the_newest_page_and_drops_what_was_cut_off() {
    let page_size = PageSize::new(512).unwrap();
    let file = |txid: u64, commit, pages: &[(u32, u8)]| {
        let range = TxidRange::single(Txid::new(txid).unwrap());
        let header = Header::new(page_size, commit, range, 7, WalSpan::default());
        let pages = pages
            .iter()
            .map(|(n, b)| (Pgno::new(*n).unwrap(), vec![*b; 512]))
            .collect();
        encode(header, PageEncoding::Block, &pages)
    };
    let files = [
        file(1, 4, &[(1, 1), (2, 1), (3, 1), (4, 1)]),
        file(2, 4, &[(2, 2), (4, 2)]),
        file(3, 3, &[(2, 3)]),
    ];
    let mut merge = Merge::new(files.iter().map(|f| Reader::new(f.as_slice())).collect()).unwrap();
    assert_eq!(
        merge.header().range.to_string(),
        "0000000000000001-0000000000000003"
    );
    assert_eq!(merge.header().commit, 3);
    let mut pages = Vec::new();
    while let Some((pgno, page)) = merge.next_page().unwrap() {
        pages.push((pgno.get(), page[0]));
    }
    assert_eq!(pages, [(1, 1), (2, 3), (3, 1)]);
    let gap = [&files[0], &files[2]].map(|f| Reader::new(f.as_slice()));
    assert!(Merge::new(gap.into()).is_err());
}

fn any_pages() -> impl Strategy<Value = (PageSize, Pages)> {
    (9_u32..=16, 1_usize..6, any::<bool>(), any::<u8>()).prop_map(|(power, count, random, seed)| {
        let page_size = PageSize::new(1 << power).unwrap();
        let mut state = u32::from(seed) | 1;
        let pages = (1..=count)
            .map(|n| {
                let page = (0..page_size.bytes())
                    .map(|i| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        if random {
                            (state >> 24) as u8
                        } else {
                            (i / 50) as u8
                        }
                    })
                    .collect();
                (Pgno::new(n as u32 * 2).unwrap(), page)
            })
            .collect();
        (page_size, pages)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_to_the_same((page_size, pages) in any_pages(), frame: bool, piece in 1_usize..5000) {
        let range = TxidRange::single(Txid::new(2).unwrap());
        let wal = WalSpan { offset: 32, size: 4120, salt1: 1, salt2: 2 };
        let header = Header::new(page_size, 100, range, -5, wal);
        let encoding = if frame { PageEncoding::Frame } else { PageEncoding::Block };
        let file = encode(header, encoding, &pages);
        prop_assert_eq!(decode(&file, piece).unwrap(), (header, pages));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(mut file in proptest::collection::vec(any::<u8>(), 0..600), piece in 1_usize..600) {
        let _ = decode(&file, piece);
        let sample = sample(PageEncoding::Frame);
        let keep = file.len().min(sample.len());
        file[..keep.min(120)].copy_from_slice(&sample[..keep.min(120)]);
        let _ = decode(&file, piece);
    }
}
