use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A Litestream transaction id, from 1. Printed as 16 lower-case hexadecimal digits.
///
/// One TXID may cover many SQLite transactions: all that were sealed into one L0 file.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::Txid;
///
/// let txid: Txid = "000000000000002a".parse()?;
/// assert_eq!(txid.get(), 42);
/// assert_eq!(txid.next().map(|next| next.to_string()), Some("000000000000002b".into()));
/// assert_eq!(Txid::new(0), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Txid(NonZeroU64);

impl Txid {
    /// The first transaction of every replica.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for 0, which means "no transaction yet".
    #[must_use]
    pub fn new(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The id after this one; `None` after the last number.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 lower-case hexadecimal digits, or it is zero.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a transaction id: {0:?} (expected 16 lower-case hexadecimal digits, from 1)")]
pub struct ParseTxidError(String);

impl FromStr for Txid {
    type Err = ParseTxidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex16(text)
            .and_then(Self::new)
            .ok_or_else(|| ParseTxidError(text.to_owned()))
    }
}

/// Parses exactly 16 lower-case hexadecimal digits, as file names have them.
pub(crate) fn parse_hex16(text: &str) -> Option<u64> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() != 16 || !text.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// The transactions that one LTX file covers, both ends included.
///
/// # Example
///
/// ```
/// use lockkeeper_ltx::{Txid, TxidRange};
///
/// let one = TxidRange::single(Txid::FIRST);
/// assert!(one.is_snapshot() && one.min() == one.max());
/// let two = Txid::FIRST.next().expect("there are more");
/// assert_eq!(TxidRange::new(two, Txid::FIRST), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct TxidRange {
    min: Txid,
    max: Txid,
}

impl TxidRange {
    /// `None` if `min > max`.
    #[must_use]
    pub fn new(min: Txid, max: Txid) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }

    /// The range that holds `txid` alone, as every L0 file does.
    #[must_use]
    pub fn single(txid: Txid) -> Self {
        Self {
            min: txid,
            max: txid,
        }
    }

    /// The first transaction.
    #[must_use]
    pub fn min(self) -> Txid {
        self.min
    }

    /// The last transaction.
    #[must_use]
    pub fn max(self) -> Txid {
        self.max
    }

    /// Whether a file with this range holds the whole database: it starts at TXID 1.
    #[must_use]
    pub fn is_snapshot(self) -> bool {
        self.min == Txid::FIRST
    }
}

impl fmt::Display for TxidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}
