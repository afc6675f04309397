//! Files of official Litestream binaries, and hand-crafted ones with the official verdict.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use lockkeeper_ltx::{
    Encoder, Header, Merge, MergeError, PageEncoding, PageIndex, Pgno, ReadError, Reader,
};
use sha2::{Digest, Sha256};

type Pages = Vec<(Pgno, Vec<u8>)>;

/// The files of one archive, by path.
fn unpack(name: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let bytes = std::fs::read(dir.join(format!("{name}.tar.gz"))).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, content);
    }
    files
}

fn decode(bytes: &[u8]) -> Result<(Header, Pages, PageIndex, u64), ReadError> {
    let mut reader = Reader::with_index(bytes);
    let header = reader.header()?;
    let mut pages = Pages::new();
    while let Some((pgno, page)) = reader.next_page()? {
        pages.push((pgno, page.to_vec()));
    }
    Ok((
        header,
        pages,
        reader.index().unwrap().clone(),
        reader.checksum().unwrap(),
    ))
}

fn encode(header: Header, encoding: PageEncoding, pages: &Pages) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(header, encoding, &mut out).unwrap();
    for (pgno, page) in pages {
        encoder.page(*pgno, page, &mut out).unwrap();
    }
    let checksum = encoder.finish(&mut out).unwrap();
    (out, checksum)
}

/// The index block that a file holds.
fn stored_index(bytes: &[u8]) -> &[u8] {
    let end = bytes.len() - 16;
    let len = u64::from_be_bytes(bytes[end - 8..end].try_into().unwrap());
    &bytes[end - 8 - usize::try_from(len).unwrap()..end]
}

#[test]
fn official_files_decode_and_survive_both_encodings() {
    let mut count = 0;
    for name in [
        "a_ps512_autovacuum_shrink",
        "c_ps65536_autovacuum_full",
        "d1_v0515_lz4frame_pages",
    ] {
        for (path, bytes) in unpack(name) {
            if !path.ends_with(".ltx") {
                continue;
            }
            count += 1;
            let (header, pages, index, checksum) = decode(&bytes).unwrap();
            assert_eq!(header.encode().unwrap(), bytes[..100], "{path}");
            assert_eq!(checksum.to_be_bytes(), bytes[bytes.len() - 8..], "{path}");
            assert_eq!(index.encode(), stored_index(&bytes), "{path}");
            assert_eq!(
                PageIndex::parse(stored_index(&bytes)).unwrap(),
                index,
                "{path}"
            );
            for encoding in [PageEncoding::Block, PageEncoding::Frame] {
                let (again, checksum) = encode(header, encoding, &pages);
                let decoded = decode(&again).unwrap();
                assert_eq!(
                    (decoded.0, &decoded.1, decoded.3),
                    (header, &pages, checksum)
                );
                assert_eq!(decoded.2.encode(), stored_index(&again), "{path}");
            }
        }
    }
    assert!(count > 30, "only {count} files");
}

/// The verdict of a merge of all files of a case, and the database it makes.
fn restore(mut files: Vec<&[u8]>) -> Result<Vec<u8>, MergeError> {
    files.sort_by_key(|bytes| bytes.get(24..32).map(<[u8]>::to_vec));
    let mut merge = Merge::new(files.into_iter().map(Reader::new).collect())?;
    let mut database = Vec::new();
    while let Some((_, page)) = merge.next_page()? {
        database.extend_from_slice(page);
    }
    Ok(database)
}

#[test]
fn hand_crafted_files_get_the_official_verdict() {
    let files = unpack("t_tolerance");
    let expected = files
        .iter()
        .find(|(path, _)| path.ends_with("expected.json"))
        .unwrap()
        .1;
    let expected: serde_json::Value = serde_json::from_slice(expected).unwrap();
    let mut checked = 0;
    for case in expected["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        // The verdict on cases from 61 on comes from the choice of files, not from their bytes.
        let number: u32 = name[..2].parse().unwrap();
        if (61..=69).contains(&number) || number == 75 {
            continue;
        }
        let inside = format!("/{name}/");
        let case_files: Vec<&[u8]> = files
            .iter()
            .filter(|(path, _)| path.contains(&inside) && path.ends_with(".ltx"))
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        assert!(!case_files.is_empty(), "{name}");
        let got = restore(case_files);
        match case["sha256"].as_str() {
            None => assert!(got.is_err(), "{name} was accepted"),
            Some(want) => {
                let database = got.unwrap_or_else(|error| panic!("{name}: {error}"));
                let sum: String = Sha256::digest(&database)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(sum, want, "{name}");
            }
        }
        checked += 1;
    }
    assert!(checked > 60, "only {checked} cases");
}
