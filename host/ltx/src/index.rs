use crate::{DecodeError, Pgno};

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

    pub(crate) fn push(&mut self, entry: IndexEntry) {
        self.0.push(entry);
    }

    /// Parses the entries and their terminator, without the length that follows them.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Index`] unless the bytes are ascending entries and one terminator.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut index = Self::default();
        let mut last = 0;
        loop {
            let Some(pgno) = take_varint(&mut bytes) else {
                return Err(DecodeError::Index("it has no end"));
            };
            if pgno == 0 {
                return match bytes {
                    [] => Ok(index),
                    _ => Err(DecodeError::Index("bytes follow its end")),
                };
            }
            let entry = (take_varint(&mut bytes), take_varint(&mut bytes));
            let (Some(offset), Some(len)) = entry else {
                return Err(DecodeError::Index("an entry is cut short"));
            };
            let Some(pgno) = u32::try_from(pgno).ok().and_then(Pgno::new) else {
                return Err(DecodeError::Index("a page number is too large"));
            };
            if pgno.get() <= last {
                return Err(DecodeError::Index("page numbers do not ascend"));
            }
            last = pgno.get();
            index.0.push(IndexEntry { pgno, offset, len });
        }
    }

    /// Appends entries, terminator and length, as a file has them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for entry in &self.0 {
            put_varint(out, u64::from(entry.pgno.get()));
            put_varint(out, entry.offset);
            put_varint(out, entry.len);
        }
        put_varint(out, 0);
        let len = out.len().saturating_sub(start) as u64;
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// Unsigned LEB128.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
