use crate::{DecodeError, Pgno};

/// Where each page of an LTX file stands in it.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use lockkeeper_ltx::{Encoder, Header, PageEncoding, PageSize, Pgno, TxidRange, Txid, WalSpan};
/// # let range = TxidRange::single(Txid::FIRST);
/// # let header = Header::new(PageSize::new(512)?, 1, range, 0, WalSpan::default());
/// # let mut file = Vec::new();
/// # let mut encoder = Encoder::new(header, PageEncoding::Block, &mut file)?;
/// # encoder.page(Pgno::FIRST, &[7; 512], &mut file)?;
/// # encoder.finish(&mut file)?;
/// use lockkeeper_ltx::{HEADER_LEN, PageIndex, Reader};
///
/// let mut reader = Reader::with_index(file.as_slice());
/// while reader.next_page()?.is_some() {}
/// let index = reader.index().expect("kept");
/// assert_eq!(index.entries()[0].offset, HEADER_LEN as u64);
/// assert_eq!(PageIndex::parse(&index.encode())?, *index);
/// # Ok(())
/// # }
/// ```
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

    /// Parses the index block: three varints per page, a zero, and the length as a `u64`.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Index`] unless the pages ascend and the length is that of the block.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut rest, len) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Index)?;
        if u64::try_from(rest.len()) != Ok(u64::from_be_bytes(*len)) {
            return Err(DecodeError::Index);
        }
        let mut parser = IndexParser::default();
        let mut index = Self::default();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match parser.push(byte)? {
                None => {}
                Some(Parsed::End) if rest.is_empty() => return Ok(index),
                Some(Parsed::End) => return Err(DecodeError::Index),
                Some(Parsed::Entry { pgno, offset, len }) => {
                    let pgno = u32::try_from(pgno).ok().and_then(Pgno::new);
                    let pgno = pgno.ok_or(DecodeError::Index)?;
                    if index.0.last().is_some_and(|last| last.pgno >= pgno) {
                        return Err(DecodeError::Index);
                    }
                    index.push(IndexEntry { pgno, offset, len });
                }
            }
        }
        Err(DecodeError::Index)
    }

    /// The bytes of the index block, as [`parse`](Self::parse) takes them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.0 {
            put_entry(&mut out, entry);
        }
        put_end(&mut out);
        out
    }

    pub(crate) fn push(&mut self, entry: IndexEntry) {
        self.0.push(entry);
    }
}

/// Appends one entry to an index block.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &IndexEntry) {
    for mut value in [u64::from(entry.pgno.get()), entry.offset, entry.len] {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }
}

/// Ends an index block that starts with `out`.
pub(crate) fn put_end(out: &mut Vec<u8>) {
    out.push(0);
    let len = out.len() as u64;
    out.extend_from_slice(&len.to_be_bytes());
}

/// What stands in an index block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Parsed {
    Entry { pgno: u64, offset: u64, len: u64 },
    End,
}

/// Takes the varints of an index block byte by byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexParser {
    value: u64,
    shift: u32,
    pgno: Option<u64>,
    offset: Option<u64>,
}

impl IndexParser {
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<Parsed>, DecodeError> {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the one bit that is left of 64.
        if self.shift > 63 || (self.shift == 63 && bits > 1) {
            return Err(DecodeError::Index);
        }
        self.value |= bits << self.shift;
        if byte & 0x80 != 0 {
            self.shift = self.shift.saturating_add(7);
            return Ok(None);
        }
        let value = std::mem::take(&mut self.value);
        self.shift = 0;
        Ok(match (self.pgno, self.offset) {
            (None, _) if value == 0 => Some(Parsed::End),
            (None, _) => {
                self.pgno = Some(value);
                None
            }
            (Some(_), None) => {
                self.offset = Some(value);
                None
            }
            (Some(pgno), Some(offset)) => {
                (self.pgno, self.offset) = (None, None);
                Some(Parsed::Entry {
                    pgno,
                    offset,
                    len: value,
                })
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_index_parses_to_what_was_encoded() {
        let mut index = PageIndex::default();
        for (pgno, offset, len) in [(1, 100, 43), (300, u64::MAX, 1 << 40)] {
            index.push(IndexEntry {
                pgno: Pgno::new(pgno).unwrap(),
                offset,
                len,
            });
        }
        let bytes = index.encode();
        assert_eq!(PageIndex::parse(&bytes).unwrap(), index);
        for len in 0..bytes.len() {
            assert_eq!(PageIndex::parse(&bytes[..len]), Err(DecodeError::Index));
        }
    }
}
