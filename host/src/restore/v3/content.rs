use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

/// Reads the content of a file that is exactly one LZ4 frame. Memory is bounded by two blocks,
/// which the format bounds, whatever the bytes say.
pub(super) struct Content<R: Read> {
    frame: FrameDecoder<Source<R>>,
    is_ended: bool,
}

impl<R: Read> Content<R> {
    pub(super) fn new(compressed: R) -> Self {
        let source = Source {
            bytes: compressed,
            is_ended: false,
        };
        Self {
            frame: FrameDecoder::new(source),
            is_ended: false,
        }
    }

    /// The decoder takes the end of the file between two blocks for the end of the frame. A whole
    /// frame says itself where it ends, so that nothing asks for more.
    fn end(&mut self) -> io::Result<()> {
        let source = self.frame.get_mut();
        if source.is_ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if source.read(&mut [0])? > 0 {
            let text = "bytes follow the end of the frame";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.is_ended = true;
        Ok(())
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_ended || buf.is_empty() {
            return Ok(0);
        }
        let len = self.frame.read(buf)?;
        if len == 0 {
            self.end()?;
        }
        Ok(len)
    }
}

/// Remembers whether it was read past its end.
struct Source<R> {
    bytes: R,
    is_ended: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.bytes.read(buf)?;
        self.is_ended |= len == 0 && !buf.is_empty();
        Ok(len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    /// A frame as Litestream 0.3 writes it, but of small blocks.
    fn frame(content: &[u8]) -> Vec<u8> {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Content::new(compressed).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_an_error() {
        let content: Vec<u8> = (0..150_000_u32).map(|n| (n / 3 % 251) as u8).collect();
        let whole = frame(&content);
        assert!(read(&whole).unwrap() == content);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_byte_after_the_frame_is_an_error() {
        let mut bytes = frame(b"content");
        bytes.push(0);
        assert!(read(&bytes).is_err());
        let twice = [frame(b"content"), frame(b"content")].concat();
        assert!(read(&twice).is_err());
    }

    #[test]
    fn a_changed_byte_never_changes_the_content() {
        let content = b"some content, some content, and more content".repeat(20);
        let whole = frame(&content);
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                // A repetition may be copied from another place that holds the same.
                let found = read(&bytes);
                assert!(found.is_err() || found.unwrap() == content, "{at} {change}");
            }
        }
    }

    #[test]
    fn a_bomb_is_read_piece_by_piece() {
        // 64 MiB of zeros in a quarter of a megabyte; a reader that stops pays for what it took.
        let bomb = frame(&vec![0; 64 << 20]);
        assert!(bomb.len() < 300_000, "{}", bomb.len());
        let mut content = Content::new(&bomb[..]);
        content.read_exact(&mut [0; 100]).unwrap();
        let taken = bomb.len() - content.frame.get_ref().bytes.len();
        assert!(taken < 1_000, "{taken}");
    }
}
