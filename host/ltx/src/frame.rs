//! LZ4 frames, as Litestream before 0.5.16 wrote pages. Nothing states how long one is, so its end
//! is found by walking its blocks.

use std::io::Read;

use lz4_flex::frame::FrameDecoder;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const FLAG_DICTIONARY: u8 = 1 << 0;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
/// In the length of a block: it is stored as it is.
const RAW: u32 = 1 << 31;

/// Finds the end of one frame in bytes that are collected from its start.
#[derive(Clone, Debug)]
pub(crate) struct FrameScan {
    /// The longest the compressed content may be.
    bound: usize,
    content: usize,
    need: usize,
    part: Part,
    block_checksum: bool,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Descriptor,
    /// The rest of the descriptor.
    Options,
    BlockLen,
    Block,
    Checksum,
}

impl FrameScan {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            bound,
            content: 0,
            need: 6,
            part: Part::Descriptor,
            block_checksum: false,
        }
    }

    /// How many bytes from its start must be collected next.
    pub(crate) fn need(&self) -> usize {
        self.need
    }

    /// Looks at the collected bytes; `true` if they are the whole frame.
    pub(crate) fn advance(&mut self, frame: &[u8]) -> Result<bool, &'static str> {
        match self.part {
            Part::Descriptor => {
                let [magic @ .., flags, _] = frame else {
                    return Err("its LZ4 frame is cut short");
                };
                if magic != MAGIC {
                    return Err("it is no LZ4 frame");
                }
                if flags & FLAG_CONTENT_CHECKSUM == 0 {
                    return Err("its LZ4 frame has no checksum");
                }
                if flags & FLAG_DICTIONARY != 0 {
                    return Err("its LZ4 frame needs a dictionary");
                }
                self.block_checksum = flags & FLAG_BLOCK_CHECKSUM != 0;
                let size = if flags & FLAG_CONTENT_SIZE != 0 { 8 } else { 0 };
                self.part = Part::Options;
                self.more(usize::saturating_add(size, 1))
            }
            Part::Options | Part::Block => {
                self.part = Part::BlockLen;
                self.more(4)
            }
            Part::BlockLen => {
                let len = frame
                    .last_chunk::<4>()
                    .map_or(0, |bytes| u32::from_le_bytes(*bytes));
                if len == 0 {
                    self.part = Part::Checksum;
                    return self.more(4);
                }
                let len = usize::try_from(len & !RAW).unwrap_or(usize::MAX);
                self.content = self.content.saturating_add(len);
                if self.content > self.bound {
                    return Err("its compressed length is out of range");
                }
                self.part = Part::Block;
                self.more(len.saturating_add(if self.block_checksum { 4 } else { 0 }))
            }
            Part::Checksum => Ok(true),
        }
    }

    fn more(&mut self, bytes: usize) -> Result<bool, &'static str> {
        // A block of length 0 can only be the end mark, so every step makes progress, but empty
        // raw blocks could repeat; the bound on the whole frame ends that.
        self.need = self.need.saturating_add(bytes);
        if self.need > self.bound.saturating_mul(2).saturating_add(64) {
            return Err("its LZ4 frame is too long");
        }
        Ok(false)
    }
}

/// Decodes one whole frame into exactly one page.
pub(crate) fn decode(frame: &[u8], page: &mut [u8]) -> Result<(), &'static str> {
    const REASON: &str = "its LZ4 frame does not decode to one page";
    let mut decoder = FrameDecoder::new(frame);
    decoder.read_exact(page).map_err(|_| REASON)?;
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(()),
        _ => Err(REASON),
    }
}
