//! What was decided and why, on disk: a bounded trace that can be replayed.
//!
//! A trace is a folder of numbered segments, `0000000000000001.trace` and so on. A process begins a
//! segment of its own; when all of them together are larger than allowed, the oldest goes. A
//! segment begins with eight bytes, `LKTRACE` and the version 2, and is a sequence of blocks:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the payload, little endian |
//! | 4 | 4 | length of the text, little endian |
//! | 8 | 4 | XXH32 of the payload with the length of the text as its seed, little endian |
//! | 12 | | the payload: the text as one LZ4 block |
//!
//! The text of a block is JSON, one [`Record`] a line. A list of all files of a replica would be
//! long and nearly the same each time; so the facts of `plan-retention` have none, and beside them
//! stands `listing`: `{"whole": [files]}`, or `{"gone": [[level, first, last]], "new": [files]}`
//! since the last one of that database in the block. A block can be read without any other.
//!
//! Version 1, which is read as well, has no events.
//!
//! A segment ends where a block is cut short or damaged: a killed process loses the decisions of
//! its last seconds, and never those before.

mod format;
mod listing;
mod read;
mod ring;

use lockkeeper_core::decision::{Facts, Proposal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) use self::format::Encoder;
pub use self::read::TraceReader;
pub(super) use self::ring::Ring;

/// The longest proposal of which a person sees all, in bytes of its JSON.
const PROPOSAL_BYTES_MAX: usize = 400;

/// One decision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The database file.
    pub database: String,
    /// The SHA-256 of the component that decides, in hexadecimal.
    pub policy: String,
    /// What was known.
    pub facts: Facts,
    /// What the component proposed.
    pub answer: Answer,
    /// Reason codes of what the guard changed, and how often each.
    #[serde(default)]
    pub clamps: Vec<(String, usize)>,
    /// What was done, for people.
    pub outcome: String,
}

/// What a component proposed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// An answer.
    Proposed {
        /// See [`hash`].
        hash: String,
        /// All of it, if it is short.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<Proposal>,
    },
    /// No answer, and why; the built-in rules decided.
    Failed(String),
    /// It was set aside after failures, or there is none; the built-in rules decided.
    NotAsked,
}

impl Answer {
    pub(super) fn of(proposal: &Proposal) -> Self {
        let text = text_of(proposal);
        Self::Proposed {
            hash: hash_of(&text),
            proposal: (text.len() <= PROPOSAL_BYTES_MAX).then(|| proposal.clone()),
        }
    }
}

/// What two proposals have in common only if they are the same: the first 32 hexadecimal digits of
/// the SHA-256 of their JSON.
#[must_use]
pub fn hash(proposal: &Proposal) -> String {
    hash_of(&text_of(proposal))
}

fn text_of(proposal: &Proposal) -> String {
    // A proposal is numbers and text, which always have a JSON form.
    serde_json::to_string(proposal).unwrap_or_default()
}

fn hash_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where decisions are recorded, and how much of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceSettings {
    /// The folder; made if it is not there. One process writes to it at a time.
    pub folder: std::path::PathBuf,
    /// The most bytes on disk; at least 1 MiB.
    pub bytes_max: u64,
}

impl TraceSettings {
    /// What a folder takes unless it is said otherwise: weeks of a database that is written to all
    /// day.
    pub const BYTES_MAX: u64 = 64 << 20;

    /// A trace of the usual size.
    pub fn new(folder: impl Into<std::path::PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: Self::BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests;
