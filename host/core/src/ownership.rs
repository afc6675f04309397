//! Who writes to a replica.
//!
//! One small object at the root of the replica says it, and how far its writer came:
//!
//! | field | what it says |
//! |---|---|
//! | `format` | version of this format |
//! | `owner` | the state directory that writes, a random number |
//! | `run` | the run of its engine, a random number: two may have copies of one state directory |
//! | `epoch` | how often the replica changed hands, from 1 |
//! | `database` | what the owner calls its database, for people |
//! | `head` | the last transaction that was durable when this was written |
//! | `updated_ms` | when that was, in milliseconds since the Unix epoch |
//!
//! Fields that are not known are skipped, so that later versions may add some.

use std::fmt;
use std::str::FromStr;

use lockkeeper_ltx::Txid;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::printable;

/// Key of the object below the root of the replica. Litestream looks at other folders only.
pub const MARKER_KEY: &str = "lockkeeper.json";
/// The newest version of the format that is understood here.
const FORMAT: u32 = 1;
/// Characters that are shown of a name that somebody else wrote.
const NAME_CHARS_MAX: usize = 100;

/// A random number that tells two writers apart. Printed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token(u128);

impl Token {
    /// The token of a random number.
    #[must_use]
    pub fn new(random: u128) -> Self {
        Self(random)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the identity of a writer (expected 32 hexadecimal digits)")]
pub struct ParseTokenError;

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseTokenError);
        }
        let number = u128::from_str_radix(text, 16);
        number.map(Self).map_err(|_| ParseTokenError)
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Who wants to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Writer {
    /// Its state directory.
    pub owner: Token,
    /// The run of its engine.
    pub run: Token,
    /// What it calls its database.
    pub database: String,
}

/// What the object says.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_core::ownership::{
///     Claim, Marker, Token, Verdict, Writer, claim, lost_head, next_head, verdict,
/// };
/// use lockkeeper_ltx::Txid;
///
/// let writer = |owner: u128| Writer {
///     owner: Token::new(owner),
///     run: Token::new(owner + 100),
///     database: "app.db".into(),
/// };
/// let (how, marker) = claim(None, &writer(1), 0, 1_000);
/// assert_eq!((how, marker.epoch(), marker.updated_ms()), (Claim::First, 1, 1_000));
/// let durable = next_head(marker.head(), Some(Txid::FIRST), false);
/// let marker = Marker::parse(&marker.with_head(durable, 2_000).encode()?)?;
/// assert_eq!(verdict(Some(&marker), &writer(1), 1), Verdict::Mine);
/// assert_eq!(lost_head(marker.head(), None, None), Some(Txid::FIRST));
///
/// // Another machine starts: the first one is fenced.
/// let (how, taken) = claim(Some(&marker), &writer(2), 0, 3_000);
/// assert_eq!(how, Claim::TakeOver);
/// assert_eq!(verdict(Some(&taken), &writer(1), 1), Verdict::Fenced);
/// println!("{} has {}", taken.owner(), taken.database());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Marker {
    format: u32,
    owner: Token,
    run: Token,
    epoch: u64,
    database: String,
    #[serde(default, with = "optional_txid")]
    head: Option<Txid>,
    #[serde(default)]
    updated_ms: u64,
}

/// Bytes that are no marker, or none that can be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// Something else is there.
    #[error("{MARKER_KEY} is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Its writer knows more than we do.
    #[error(
        "{MARKER_KEY} has format {format}, and only format {FORMAT} is known here: use the newer version"
    )]
    Newer {
        /// The version that it has.
        format: u32,
    },
}

impl Marker {
    /// Reads the object.
    ///
    /// # Errors
    ///
    /// [`MarkerError`] if it is not one of a known format.
    pub fn parse(bytes: &[u8]) -> Result<Self, MarkerError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(MarkerError::Damaged)?;
        if format > FORMAT {
            return Err(MarkerError::Newer { format });
        }
        serde_json::from_slice(bytes).map_err(MarkerError::Damaged)
    }

    /// The bytes of the object.
    ///
    /// # Errors
    ///
    /// None that a marker can cause.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// The last transaction that was durable when this was written.
    #[must_use]
    pub fn head(&self) -> Option<Txid> {
        self.head
    }

    /// When this was written, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn updated_ms(&self) -> u64 {
        self.updated_ms
    }

    /// How often the replica changed hands.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whose replica it is.
    #[must_use]
    pub fn owner(&self) -> Token {
        self.owner
    }

    /// What the owner calls its database, made fit for a log line.
    #[must_use]
    pub fn database(&self) -> String {
        printable(&self.database, NAME_CHARS_MAX)
    }

    /// The same owner, further on.
    #[must_use]
    pub fn with_head(&self, head: Option<Txid>, now_ms: u64) -> Self {
        Self {
            head,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    fn names(&self, writer: &Writer) -> bool {
        self.owner == writer.owner && self.run == writer.run
    }
}

/// How a writer comes to own a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// Nobody owns it.
    First,
    /// It was its own before.
    GoOn,
    /// Somebody else owned it, who may still be running. What is known here of the replica may be
    /// wrong.
    TakeOver,
}

/// What a writer writes at its start to own a replica. It always may: a new machine must be able to
/// go on where a lost one ended, without asking anybody.
///
/// `epoch_seen` is the epoch in which this run already owned it, or 0.
#[must_use]
pub fn claim(
    found: Option<&Marker>,
    writer: &Writer,
    epoch_seen: u64,
    now_ms: u64,
) -> (Claim, Marker) {
    let epoch = epoch_seen.max(found.map_or(0, |marker| marker.epoch));
    let (claim, epoch) = match found {
        None => (Claim::First, epoch.max(1)),
        Some(marker) if marker.owner == writer.owner => (Claim::GoOn, epoch),
        Some(_) => (Claim::TakeOver, epoch.saturating_add(1)),
    };
    let marker = Marker {
        format: FORMAT,
        owner: writer.owner,
        run: writer.run,
        epoch,
        database: writer.database.clone(),
        head: found.and_then(|marker| marker.head),
        updated_ms: now_ms,
    };
    (claim, marker)
}

/// Whether a writer that claimed a replica still owns it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It does.
    Mine,
    /// Somebody deleted the object, and nobody else claims to own it.
    Unclaimed,
    /// The replica was put back to a state of before the claim.
    PutBack,
    /// Somebody else took it over, or a copy of this state directory did.
    Fenced,
}

/// Compares what is there with the claim that `writer` made in `epoch`.
#[must_use]
pub fn verdict(found: Option<&Marker>, writer: &Writer, epoch: u64) -> Verdict {
    match found {
        None => Verdict::Unclaimed,
        Some(marker) if marker.epoch < epoch => Verdict::PutBack,
        Some(marker) if marker.names(writer) => Verdict::Mine,
        Some(_) => Verdict::Fenced,
    }
}

/// The head that a writer notes once `durable` is confirmed.
///
/// It never goes back while there is hope: files that the replica lost are sent again if they are
/// still here. Where they `are_lost`, a file with every page took their place, and numbers begin
/// again after what is left.
#[must_use]
pub fn next_head(head: Option<Txid>, durable: Option<Txid>, are_lost: bool) -> Option<Txid> {
    if are_lost { durable } else { head.max(durable) }
}

/// The head, if neither the replica nor the local files reach it.
#[must_use]
pub fn lost_head(head: Option<Txid>, replica: Option<Txid>, local: Option<Txid>) -> Option<Txid> {
    head.filter(|_| head > replica && head > local)
}

mod optional_txid {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Txid, de};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        txid: &Option<Txid>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        txid.map(|txid| txid.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Txid>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parsed = text.map(|text| text.parse()).transpose();
        parsed.map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
