//! The reader of the write-ahead log, on logs made here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lockkeeper_ltx::DecodeError;
use lockkeeper_ltx::wal::{FRAME_HEADER_LEN, Next, WAL_HEADER_LEN, WalHeader, WalReader};

const PAGE: usize = 512;

fn sum(big: bool, [mut a, mut b]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    for words in bytes.chunks(8) {
        let word = |at: usize| {
            let bytes = words[at..at + 4].try_into().unwrap();
            if big {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        a = a.wrapping_add(word(0)).wrapping_add(b);
        b = b.wrapping_add(word(4)).wrapping_add(a);
    }
    [a, b]
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// A log with one frame per entry of `frames`: page number and commit.
fn log(big: bool, salt1: u32, frames: &[(u32, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    put(
        &mut out,
        &[
            0x377f_0682 | u32::from(big),
            3_007_000,
            PAGE as u32,
            3,
            salt1,
            99,
        ],
    );
    let mut checksum = sum(big, [0, 0], &out);
    put(&mut out, &checksum);
    for &(pgno, commit) in frames {
        let start = out.len();
        put(&mut out, &[pgno, commit]);
        let page = vec![pgno.to_le_bytes()[0]; PAGE];
        checksum = sum(big, sum(big, checksum, &out[start..]), &page);
        put(&mut out, &[salt1, 99]);
        put(&mut out, &checksum);
        out.extend_from_slice(&page);
    }
    out
}

/// The pages and commits that the reader finds, and whether the log ended by what follows.
#[track_caller]
fn check(bytes: &[u8], want: &[(u32, Option<u32>)], ended: bool) {
    let header = WalHeader::parse(bytes[..WAL_HEADER_LEN].try_into().unwrap()).unwrap();
    let mut reader = WalReader::new(&header);
    let mut input = &bytes[WAL_HEADER_LEN..];
    let mut got = Vec::new();
    let last = loop {
        match reader.next(&mut input) {
            Next::Frame(frame) => got.push((frame.pgno.get(), frame.commit)),
            other => break other,
        }
        let mut resumed = WalReader::resume(&header, reader.frames(), reader.checksum());
        assert_eq!(
            resumed.next(&mut { input }),
            reader.clone().next(&mut { input })
        );
    };
    assert_eq!(got, want);
    assert_eq!(reader.frames(), want.len() as u64);
    assert_eq!(
        last,
        if ended {
            Next::EndOfLog
        } else {
            Next::NeedMore
        }
    );
}

#[test]
fn a_log_ends_at_the_first_frame_that_does_not_continue_it() {
    let found = [(1, None), (2, Some(2)), (1, Some(2))];
    let frame = FRAME_HEADER_LEN + PAGE;
    for big in [false, true] {
        let whole = log(big, 10, &[(1, 0), (2, 2), (1, 2)]);
        check(&whole, &found, false);
        check(&whole[..whole.len() - 1], &found[..2], false);

        let mut torn = whole.clone();
        torn[WAL_HEADER_LEN + 2 * frame + 100] ^= 1;
        check(&torn, &found[..2], true);

        let mut restarted = log(big, 11, &[(1, 0), (2, 2)]);
        restarted.extend_from_slice(&whole[WAL_HEADER_LEN + 2 * frame..]);
        check(&restarted, &found[..2], true);

        check(&log(big, 10, &[(1, 0), (0, 2)]), &found[..1], true);
    }
}

#[test]
fn every_flipped_bit_of_a_log_header_is_an_error() {
    let bytes = log(false, 10, &[]);
    for bit in 0..bytes.len() * 8 {
        let mut header: [u8; WAL_HEADER_LEN] = bytes.clone().try_into().unwrap();
        header[bit / 8] ^= 1 << (bit % 8);
        assert!(WalHeader::parse(&header).is_err(), "bit {bit}");
    }
    let mut header: [u8; WAL_HEADER_LEN] = bytes.try_into().unwrap();
    header[31] ^= 1;
    assert_eq!(WalHeader::parse(&header), Err(DecodeError::WalChecksum));
}
