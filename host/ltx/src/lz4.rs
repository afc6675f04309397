//! LZ4 blocks and frames, one page each. A page is at most 64 KiB, so that a frame never needs
//! more than the page itself as its window.

use lz4_flex::block;
use twox_hash::XxHash32;

use crate::PageSize;

/// Frame magic, version 1 with independent blocks and content checksum, 64 KiB blocks, and the
/// checksum of these two descriptor bytes.
pub(crate) const FRAME_START: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7];
/// Set in a block size of a frame if the block is stored as it is.
pub(crate) const STORED: u32 = 1 << 31;

/// The largest block that a compressor makes of a page.
pub(crate) fn bound(page_size: PageSize) -> usize {
    let len = page_size.bytes();
    len.saturating_add(len / 255).saturating_add(16)
}

pub(crate) fn xxh32(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

/// The compressed bytes are damaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damaged;

/// Decompresses a block that is a whole page.
pub(crate) fn decompress_page(bytes: &[u8], page: &mut [u8]) -> Result<(), Damaged> {
    match block::decompress_into(bytes, page) {
        Ok(len) if len == page.len() => Ok(()),
        _ => Err(Damaged),
    }
}

/// What a [`FrameReader`] expects next: so many bytes.
#[derive(Clone, Copy, Debug)]
enum Part {
    Start,
    Descriptor,
    BlockSize,
    Block { stored: bool },
    ContentChecksum,
}

/// Reads the LZ4 frame of one page, part by part.
#[derive(Clone, Debug)]
pub(crate) struct FrameReader {
    part: Part,
    need: usize,
    flags: u8,
    block_max: usize,
    descriptor: [u8; 2],
    filled: usize,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self {
            part: Part::Start,
            need: 6,
            flags: 0,
            block_max: 0,
            descriptor: [0; 2],
            filled: 0,
        }
    }

    /// How many bytes [`push`](Self::push) takes next. Never more than [`bound`] and a checksum.
    pub(crate) fn need(&self) -> usize {
        self.need
    }

    /// Takes exactly [`need`](Self::need) bytes; true when the page is complete.
    pub(crate) fn push(&mut self, bytes: &[u8], page: &mut [u8]) -> Result<bool, Damaged> {
        match self.part {
            Part::Start => self.start(bytes)?,
            Part::Descriptor => self.check_descriptor(bytes, page.len())?,
            Part::BlockSize => self.block_size(bytes, page.len())?,
            Part::Block { stored } => {
                self.block(bytes, stored, page)?;
                self.expect(Part::BlockSize, 4);
            }
            Part::ContentChecksum => {
                return if bytes == xxh32(page).to_le_bytes() {
                    Ok(true)
                } else {
                    Err(Damaged)
                };
            }
        }
        Ok(false)
    }

    fn expect(&mut self, part: Part, need: usize) {
        (self.part, self.need) = (part, need);
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn start(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        let Some(&[flags, sizes]) = bytes.strip_prefix(&[0x04, 0x22, 0x4d, 0x18]) else {
            return Err(Damaged);
        };
        // Version 1 with a content checksum, without a dictionary and the reserved bits.
        if flags & 0b1100_0111 != 0b0100_0100 || sizes & 0b1000_1111 != 0 {
            return Err(Damaged);
        }
        self.block_max = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(Damaged),
        };
        self.flags = flags;
        self.descriptor = [flags, sizes];
        self.expect(Part::Descriptor, if self.has(0x08) { 9 } else { 1 });
        Ok(())
    }

    fn check_descriptor(&mut self, bytes: &[u8], page_len: usize) -> Result<(), Damaged> {
        let (&checksum, size) = bytes.split_last().ok_or(Damaged)?;
        if let Ok(size) = <[u8; 8]>::try_from(size)
            && u64::from_le_bytes(size) != page_len as u64
        {
            return Err(Damaged);
        }
        let mut descriptor = self.descriptor.to_vec();
        descriptor.extend_from_slice(size);
        if xxh32(&descriptor).to_le_bytes()[1] != checksum {
            return Err(Damaged);
        }
        self.expect(Part::BlockSize, 4);
        Ok(())
    }

    fn block_size(&mut self, bytes: &[u8], page_len: usize) -> Result<(), Damaged> {
        let raw = u32::from_le_bytes(bytes.try_into().map_err(|_| Damaged)?);
        if raw == 0 {
            self.expect(Part::ContentChecksum, 4);
            return if self.filled == page_len {
                Ok(())
            } else {
                Err(Damaged)
            };
        }
        let len = usize::try_from(raw & !STORED).map_err(|_| Damaged)?;
        let bound = page_len.saturating_add(page_len / 255).saturating_add(16);
        if len == 0 || len > bound.min(self.block_max) {
            return Err(Damaged);
        }
        let checksum = if self.has(0x10) { 4 } else { 0 };
        self.expect(
            Part::Block {
                stored: raw & STORED != 0,
            },
            len.saturating_add(checksum),
        );
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], stored: bool, page: &mut [u8]) -> Result<(), Damaged> {
        let mut data = bytes;
        if self.has(0x10) {
            let (head, checksum) = bytes.split_last_chunk::<4>().ok_or(Damaged)?;
            if xxh32(head) != u32::from_le_bytes(*checksum) {
                return Err(Damaged);
            }
            data = head;
        }
        let (done, rest) = page.split_at_mut_checked(self.filled).ok_or(Damaged)?;
        let len = if stored {
            rest.get_mut(..data.len())
                .ok_or(Damaged)?
                .copy_from_slice(data);
            data.len()
        } else if self.has(0x20) {
            block::decompress_into(data, rest).map_err(|_| Damaged)?
        } else {
            block::decompress_into_with_dict(data, rest, done).map_err(|_| Damaged)?
        };
        // An empty block is never written; refusing it bounds the number of blocks.
        if len == 0 || len > self.block_max {
            return Err(Damaged);
        }
        self.filled = self.filled.saturating_add(len);
        Ok(())
    }
}
