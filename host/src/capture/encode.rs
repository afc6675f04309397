//! Pages of a database into the bytes of an LTX file.

use lockkeeper_ltx::{Encoder, Header, PageEncoding, Pgno};

use super::image::Image;
use crate::{Error, Result};

/// Encoded bytes that are collected before they are passed on.
pub(super) const WRITE_BYTES: usize = 256 << 10;

/// Encodes the pages `wanted`, which ascend, and passes the file on in pieces.
pub(super) fn encode(
    image: &Image<'_>,
    header: Header,
    encoding: PageEncoding,
    wanted: &[Pgno],
    out: &mut Vec<u8>,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let refused = |error: lockkeeper_ltx::EncodeError| {
        Error::internal("cannot encode a file").with_source(error)
    };
    let mut encoder = Encoder::new(header, encoding, out).map_err(refused)?;
    let mut page = vec![0; image.page_size.bytes()];
    for &pgno in wanted {
        image.read(pgno, &mut page)?;
        encoder.page(pgno, &page, out).map_err(refused)?;
        if out.len() >= WRITE_BYTES {
            sink(out)?;
            out.clear();
        }
    }
    encoder.finish(out).map_err(refused)?;
    sink(out)
}
