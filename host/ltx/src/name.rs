use std::fmt;
use std::str::FromStr;

use crate::txid::parse_hex16;
use crate::{Txid, TxidRange};

/// The level of an LTX file in a replica: 0 for one sync per file, 1 to 8 for compactions,
/// 9 for snapshots.
///
/// # Example
///
/// ```
/// use lockkeeper_ltx::Level;
///
/// assert_eq!(Level::all().next_back(), Some(Level::SNAPSHOT));
/// assert_eq!(Level::new(1).map(Level::get), Some(1));
/// assert_eq!(Level::new(10), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Level(u8);

impl Level {
    /// Files as they were captured.
    pub const L0: Self = Self(0);
    /// Whole databases.
    pub const SNAPSHOT: Self = Self(9);

    /// `None` above 9.
    #[must_use]
    pub fn new(raw: u8) -> Option<Self> {
        (raw <= 9).then_some(Self(raw))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// Every level, from 0 to 9.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..=9).map(Self)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an LTX file: `<min>-<max>.ltx`, each 16 lower-case hexadecimal digits.
///
/// # Example
///
/// ```
/// use lockkeeper_ltx::FileName;
/// let name: FileName = "0000000000000001-000000000000000a.ltx".parse().unwrap();
/// assert_eq!(name.range().max().get(), 10);
/// assert_eq!(name.to_string(), "0000000000000001-000000000000000a.ltx");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct FileName(TxidRange);

impl FileName {
    /// The name of the file that covers `range`.
    #[must_use]
    pub fn new(range: TxidRange) -> Self {
        Self(range)
    }

    /// What the file covers.
    #[must_use]
    pub fn range(self) -> TxidRange {
        self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.ltx", self.0)
    }
}

/// The text is not the name of an LTX file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the name of an LTX file: {0:?}")]
pub struct ParseFileNameError(String);

impl FromStr for FileName {
    type Err = ParseFileNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (min, max) = text.strip_suffix(".ltx")?.split_once('-')?;
            let (min, max) = (Txid::new(parse_hex16(min)?)?, Txid::new(parse_hex16(max)?)?);
            TxidRange::new(min, max).map(Self)
        };
        parse().ok_or_else(|| ParseFileNameError(text.to_owned()))
    }
}
