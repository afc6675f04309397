use std::fmt;
use std::num::NonZeroU32;

use crate::DecodeError;

/// A valid SQLite page size in bytes: a power of two in `512..=65536`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct PageSize(NonZeroU32);

impl PageSize {
    /// Parses a page size that is stored plainly, as LTX and WAL headers do.
    ///
    /// # Errors
    ///
    /// [`DecodeError::PageSize`] unless `raw` is a power of two in `512..=65536`.
    ///
    /// # Example
    ///
    /// ```
    /// use lockkeeper_ltx::PageSize;
    /// assert_eq!(PageSize::new(4096).unwrap().bytes(), 4096);
    /// assert!(PageSize::new(1000).is_err());
    /// ```
    pub fn new(raw: u32) -> Result<Self, DecodeError> {
        match NonZeroU32::new(raw) {
            Some(n) if n.is_power_of_two() && (512..=65_536).contains(&raw) => Ok(Self(n)),
            _ => Err(DecodeError::PageSize(raw)),
        }
    }

    /// Parses the 16-bit field of a database header, in which 1 stands for 65536
    /// (SQLite file format, section 1.3.2).
    ///
    /// # Errors
    ///
    /// [`DecodeError::PageSize`] unless the field names a valid size.
    pub fn from_database_header(raw: u16) -> Result<Self, DecodeError> {
        Self::new(if raw == 1 { 65_536 } else { u32::from(raw) })
    }

    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        // Lossless: at most 65536, and `usize` has at least 32 bits wherever SQLite runs.
        self.0.get() as usize
    }

    /// The size in bytes, as headers store it.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The page that covers byte 2³⁰, which SQLite uses for file locks and never for content
    /// (SQLite file format, section 1.5). LTX files never contain it.
    ///
    /// # Example
    ///
    /// ```
    /// use lockkeeper_ltx::PageSize;
    /// assert_eq!(PageSize::new(4096).unwrap().lock_page().get(), 262_145);
    /// ```
    #[must_use]
    pub fn lock_page(self) -> Pgno {
        Pgno(NonZeroU32::MIN.saturating_add(0x4000_0000_u32 / self.0))
    }

    /// The page that follows `last` in a snapshot, which skips the lock page; `None` after the last
    /// page number.
    pub(crate) fn page_after(self, last: Option<Pgno>) -> Option<Pgno> {
        let next = last.map_or(Some(Pgno::FIRST), Pgno::next)?;
        if next == self.lock_page() {
            next.next()
        } else {
            Some(next)
        }
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a database page, from 1.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper_ltx::{PageSize, Pgno};
///
/// let page_size = PageSize::from_database_header(4096)?;
/// let second = Pgno::FIRST.next().expect("there are more");
/// assert_eq!(second.get(), 2);
/// assert_eq!(second.offset(page_size), 4096); // bytes
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Pgno(NonZeroU32);

impl Pgno {
    /// The page with the database header.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for 0, which is no page.
    #[must_use]
    pub fn new(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Where the page begins in the database file, in bytes.
    #[must_use]
    pub fn offset(self, page_size: PageSize) -> u64 {
        u64::from(self.0.get())
            .saturating_sub(1)
            .saturating_mul(u64::from(page_size.get()))
    }

    /// The page after this one; `None` after the last number.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Pgno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
