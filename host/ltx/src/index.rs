use crate::Pgno;

/// Where each page of an LTX file stands in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PageIndex(Vec<IndexEntry>);

/// One page of a [`PageIndex`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexEntry {
    /// The page.
    pub pgno: Pgno,
    /// Where its page header begins, in bytes from the start of the file.
    pub offset: u64,
    /// Length of page header and payload, in bytes.
    pub len: u64,
}

impl PageIndex {
    /// The entries, by ascending page number.
    #[must_use]
    pub fn entries(&self) -> &[IndexEntry] {
        &self.0
    }
}
