//! Records to blocks, and back.

use lockkeeper_core::decision::Facts;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash32;

use super::Record;
use super::listing::{Listing, Listings};

/// How a segment begins: a name, and then the version of the format.
pub(super) const NAME: &[u8; 7] = b"LKTRACE";
/// The version that is written.
pub(super) const VERSION: u8 = 2;
/// The oldest version that is read: it has no events.
pub(super) const VERSION_MIN: u8 = 1;
/// Bytes before the first block.
pub(super) const BEGIN_LEN: usize = NAME.len() + 1;
/// Bytes before the payload of a block.
pub(super) const HEADER_LEN: usize = 12;
/// The longest text of a block, in bytes: a record that lists all files of a large replica fits.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 20;
/// The text with which a block is full: more would be lost with a killed process and compress no
/// better, for LZ4 looks back no further.
const TEXT_BYTES_FULL: usize = 256 << 10;

/// A line of a block.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    record: Record,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<Listing>,
}

/// Collects records until they fill a block.
#[derive(Debug, Default)]
pub(in super::super) struct Encoder {
    text: Vec<u8>,
    records: u64,
    listings: Listings,
}

impl Encoder {
    /// Adds a record. Returns whether there was room for it.
    pub(in super::super) fn add(&mut self, mut record: Record) -> bool {
        let listing = match &mut record.facts {
            Facts::Retention(facts) => {
                let files = std::mem::take(&mut facts.files);
                Some(self.listings.write(&record.database, files))
            }
            _ => None,
        };
        let Ok(line) = serde_json::to_vec(&Line { record, listing }) else {
            return false;
        };
        if self.text.len() + line.len() >= TEXT_BYTES_MAX {
            // What comes next must not build on a list that is not there.
            self.listings.clear();
            return false;
        }
        self.text.extend(line);
        self.text.push(b'\n');
        self.records += 1;
        true
    }

    /// Whether it is time to write the block.
    pub(in super::super) fn is_full(&self) -> bool {
        self.text.len() >= TEXT_BYTES_FULL
    }

    /// The block and how many records are in it; `None` without any. The next one starts anew.
    pub(in super::super) fn block(&mut self) -> Option<(Vec<u8>, u64)> {
        if self.text.is_empty() {
            return None;
        }
        let payload = lz4_flex::block::compress(&self.text);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut block = Vec::with_capacity(HEADER_LEN + payload.len());
        let text_len = length(&self.text);
        block.extend(length(&payload).to_le_bytes());
        block.extend(text_len.to_le_bytes());
        block.extend(XxHash32::oneshot(text_len, &payload).to_le_bytes());
        block.extend(payload);
        self.text.clear();
        self.listings.clear();
        Some((block, std::mem::take(&mut self.records)))
    }
}

/// The lengths that the header of a block has, payload first; `None` if it cannot be one.
pub(super) fn lengths(header: [u8; HEADER_LEN]) -> Option<(usize, usize)> {
    let [a, b, c, d, e, f, g, h, ..] = header;
    let payload = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let text = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
    let payload_max = lz4_flex::block::get_maximum_output_size(TEXT_BYTES_MAX);
    (text <= TEXT_BYTES_MAX && payload <= payload_max).then_some((payload, text))
}

/// The records of a block; `None` if it is damaged. A line that makes no sense to this version is
/// left out.
pub(super) fn decode(header: [u8; HEADER_LEN], payload: &[u8]) -> Option<Vec<Record>> {
    let (_, text_len) = lengths(header)?;
    let [.., a, b, c, d] = header;
    let seed = u32::try_from(text_len).ok()?;
    if XxHash32::oneshot(seed, payload) != u32::from_le_bytes([a, b, c, d]) {
        return None;
    }
    let text = lz4_flex::block::decompress(payload, text_len).ok()?;
    let mut listings = Listings::default();
    let mut records = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(Line {
            mut record,
            listing,
        }) = serde_json::from_slice::<Line>(line)
        else {
            continue;
        };
        if let (Facts::Retention(facts), Some(listing)) = (&mut record.facts, listing) {
            let Some(files) = listings.read(&record.database, listing) else {
                continue;
            };
            facts.files = files;
        }
        records.push(record);
    }
    Some(records)
}
