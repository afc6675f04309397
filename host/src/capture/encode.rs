//! Pages of a database into the bytes of an LTX file.

use lockkeeper_ltx::{Encoder, Header, PageEncoding, Pgno};

use super::image::Image;
use crate::{Error, Result};

/// Encoded bytes that are collected before they are passed on.
pub(super) const WRITE_BYTES: usize = 256 << 10;

/// Where pages and bytes of a file go.
pub(super) trait Sink {
    /// Sees each page before it is encoded.
    fn page(&mut self, pgno: Pgno, page: &[u8]) -> Result<()>;
    /// Takes the next bytes.
    fn bytes(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Encodes the pages `wanted`, which ascend, and passes the file on in pieces.
pub(super) fn encode(
    image: &mut Image<'_>,
    header: Header,
    encoding: PageEncoding,
    wanted: &[Pgno],
    out: &mut Vec<u8>,
    sink: &mut impl Sink,
) -> Result<()> {
    let refused = |error: lockkeeper_ltx::EncodeError| {
        Error::internal("cannot encode a file").with_source(error)
    };
    let mut encoder = Encoder::new(header, encoding, out).map_err(refused)?;
    for &pgno in wanted {
        let page = image.read(pgno)?;
        sink.page(pgno, page)?;
        encoder.page(pgno, page, out).map_err(refused)?;
        if out.len() >= WRITE_BYTES {
            sink.bytes(out)?;
            out.clear();
        }
    }
    encoder.finish(out).map_err(refused)?;
    sink.bytes(out)
}
