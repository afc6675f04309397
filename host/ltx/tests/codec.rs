//! What holds for every LTX file: round trips, damage, truncation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lockkeeper_ltx::{
    DecodeError, Decoder, EncodeError, Encoder, HEADER_LEN, Header, PageEncoding, PageSize, Pgno,
    Step, Txid, TxidRange, WalSpan,
};
use proptest::prelude::*;

type Pages = Vec<(u32, Vec<u8>)>;

/// A file of one block, written by Litestream 0.5.17.
const BLOCK_SAMPLE: &str = "\
4c54583100000002000002000000000800000000000000100000000000000010000001a209239d8c0000000000000000\
0000000000000020000000000000021803c9a1b2e1a3eb9c000000000000000000000000000000000000000000000000\
0000000000000004000100000021cf0d0000000101fa0001fa00000200ffd2000200c000000000000004010300010600\
000000000004642b0000000000000000040000000000000000ad9c8326d93f6523";

/// A file of one frame, written by Litestream 0.5.15.
const FRAME_SAMPLE: &str = "\
4c54583100000002000004000000000400000000000000040000000000000004000001a20923fab60000000000000000\
00000000000000200000000000000418cfdf63908efc2e9a000000000000000000000000000000000000000000000000\
0000000000000003000004224d186440a723000000cf0d0000000103fb0003fb00000200ffffffd4000200c000000000\
000000030103000900000000a8a8c61300000000000003643c000000000000000004000000000000000080fbce6ece04\
baa3";

fn header(page_size: u32, commit: u32, min: u64, max: u64) -> Header {
    let range = TxidRange::new(Txid::new(min).unwrap(), Txid::new(max).unwrap()).unwrap();
    let wal = WalSpan {
        offset: 32,
        size: 0,
        salt1: 0,
        salt2: 0,
    };
    Header::new(
        PageSize::new(page_size).unwrap(),
        commit,
        range,
        1_700_000_000_000,
        wal,
    )
}

fn encode(header: Header, encoding: PageEncoding, pages: &Pages) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(header, encoding, &mut out)?;
    for (pgno, page) in pages {
        encoder.page(Pgno::new(*pgno).unwrap(), page, &mut out)?;
    }
    encoder.finish(&mut out)?;
    Ok(out)
}

/// Decodes bytes that arrive in pieces of `piece` bytes.
fn decode(bytes: &[u8], piece: usize) -> Result<(Header, Pages), DecodeError> {
    let mut decoder = Decoder::new();
    let (mut header, mut pages) = (None, Pages::new());
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.step(&mut input)? {
                Step::NeedMore => break,
                Step::Header(found) => header = Some(found),
                Step::Page(pgno, page) => pages.push((pgno.get(), page.to_vec())),
                Step::End { .. } => {}
            }
        }
    }
    decoder.end_of_input()?;
    Ok((header.unwrap(), pages))
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn samples() -> [Vec<u8>; 2] {
    [unhex(BLOCK_SAMPLE), unhex(FRAME_SAMPLE)]
}

/// A small file in each encoding.
fn small_files() -> [Vec<u8>; 2] {
    let pages = vec![
        (1, vec![7; 512]),
        (2, (0..512).map(|i| (i * i % 251) as u8).collect()),
    ];
    [PageEncoding::Block, PageEncoding::Frame]
        .map(|encoding| encode(header(512, 2, 1, 1), encoding, &pages).unwrap())
}

#[test]
fn the_sample_files_decode_to_their_description() {
    for (bytes, len, commit, txid, size, page) in [
        (BLOCK_SAMPLE, 177, 8, 16, 536, 4),
        (FRAME_SAMPLE, 194, 4, 4, 1048, 3),
    ] {
        let bytes = unhex(bytes);
        assert_eq!(bytes.len(), len);
        let (header, pages) = decode(&bytes, len).unwrap();
        assert_eq!((header.commit, header.range.min().get()), (commit, txid));
        assert_eq!((header.wal.offset, header.wal.size), (32, size));
        assert_eq!((pages.len(), pages[0].0), (1, page));
    }
}

#[test]
fn a_file_cut_at_any_byte_is_truncated() {
    for file in small_files().into_iter().chain(samples()) {
        for len in 0..file.len() {
            assert_eq!(
                decode(&file[..len], 64).unwrap_err(),
                DecodeError::Truncated,
                "{len}"
            );
        }
        let mut longer = file.clone();
        longer.push(0);
        assert_eq!(
            decode(&longer, longer.len()).unwrap_err(),
            DecodeError::TrailingBytes
        );
    }
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    for file in small_files().into_iter().chain(samples()) {
        let want = decode(&file, file.len()).unwrap();
        for bit in 0..file.len() * 8 {
            let mut bytes = file.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(got) = decode(&bytes, bytes.len()) {
                assert_eq!(got, want, "bit {bit}");
            }
        }
    }
}

#[test]
fn a_huge_compressed_size_is_refused_before_its_bytes_arrive() {
    let [mut file, _] = small_files();
    file[HEADER_LEN + 6..HEADER_LEN + 10].copy_from_slice(&0xf000_0000_u32.to_be_bytes());
    let got = decode(&file[..HEADER_LEN + 10], 1);
    assert_eq!(
        got.unwrap_err(),
        DecodeError::CompressedSize {
            pgno: Pgno::FIRST,
            size: 0xf000_0000
        }
    );
}

#[test]
fn the_encoder_refuses_what_no_reader_accepts() {
    let page = |pgno: u32| (pgno, vec![0; 65_536]);
    let pgno = |raw| Pgno::new(raw).unwrap();
    for (commit, min, pages, want) in [
        (0, 2, vec![], EncodeError::EmptyDatabase),
        (
            3,
            2,
            vec![page(2), page(1)],
            EncodeError::PageOrder(pgno(1)),
        ),
        (
            3,
            2,
            vec![page(2), page(2)],
            EncodeError::PageOrder(pgno(2)),
        ),
        (
            3,
            2,
            vec![page(4)],
            EncodeError::PageRange {
                pgno: pgno(4),
                commit: 3,
            },
        ),
        (
            20_000,
            2,
            vec![page(16_385)],
            EncodeError::PageRange {
                pgno: pgno(16_385),
                commit: 20_000,
            },
        ),
        (3, 1, vec![page(2)], EncodeError::MissingPage(1)),
        (3, 1, vec![page(1), page(3)], EncodeError::MissingPage(2)),
        (3, 1, vec![page(1), page(2)], EncodeError::MissingPage(3)),
        (
            3,
            2,
            vec![(1, vec![0; 9])],
            EncodeError::PageLen {
                pgno: pgno(1),
                len: 9,
            },
        ),
    ] {
        let got = encode(header(65_536, commit, min, 2), PageEncoding::Block, &pages);
        assert_eq!(got.unwrap_err(), want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_survive_a_round_trip(
        power in 9_u32..=16,
        numbers in proptest::collection::btree_set(1_u32..5000, 0..6),
        seed in any::<u64>(),
        random in any::<bool>(),
        frame in any::<bool>(),
        piece in 1_usize..70_000,
    ) {
        let size = 1_u32 << power;
        let mut state = seed | 1;
        let pages: Pages = numbers
            .into_iter()
            .map(|pgno| {
                let page = (0..size)
                    .map(|i| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        if random { state.to_le_bytes()[0] } else { (i / 50).to_le_bytes()[0] }
                    })
                    .collect();
                (pgno, page)
            })
            .collect();
        let encoding = if frame { PageEncoding::Frame } else { PageEncoding::Block };
        let header = header(size, 5000, 7, 9);
        let bytes = encode(header, encoding, &pages).unwrap();
        prop_assert_eq!(decode(&bytes, piece).unwrap(), (header, pages));
    }

    #[test]
    fn random_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let [file, _] = small_files();
        let mut bytes = file[..HEADER_LEN].to_vec();
        bytes.extend_from_slice(&tail);
        prop_assert!(decode(&bytes, 50).is_err());
    }
}
