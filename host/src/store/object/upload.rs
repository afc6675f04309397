//! Writing objects: in one request under a condition, or in parts.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lockkeeper_core::s3::Conditions;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    UpdateVersion,
};

use super::failure::{exists, failed, has_no_conditions};
use super::{ObjectStoreAdapter, version};
use crate::store::{Body, Expected};
use crate::{Error, ErrorKind, Result};

/// Parts of one object: what S3 takes.
const PARTS_MAX: usize = 10_000;

impl ObjectStoreAdapter {
    /// Writes in one request, if what is there is as expected.
    pub(super) async fn put_expecting(
        &self,
        path: &Path,
        bytes: Bytes,
        attributes: Attributes,
        expected: Expected<'_>,
    ) -> Result<PutResult> {
        let put = |mode| self.put_once(path, bytes.clone(), attributes.clone(), mode);
        if !self.has_conditions(Conditions::Absent) {
            match put(mode(expected)).await {
                Err(error) if has_no_conditions(&error) => {
                    self.set_conditions(Conditions::Absent);
                }
                Err(error) => return Err(failed("write", path, error)),
                Ok(result) if self.has_conditions(Conditions::Unproven) => {
                    // The same again: a store that keeps to the condition refuses it now, and one
                    // that does not writes what is there already.
                    return match put(mode(expected)).await {
                        Ok(again) => {
                            tracing::warn!(
                                store = %self.bucket.place,
                                "the store ignores conditions on writes: keep other writers away"
                            );
                            self.set_conditions(Conditions::Absent);
                            Ok(again)
                        }
                        // The object is written, whatever the proof comes to.
                        Err(error) => {
                            let is_kept =
                                failed("write", path, error).kind() == ErrorKind::Conflict;
                            if is_kept && expected == Expected::Absent {
                                self.set_conditions(Conditions::Kept);
                            }
                            Ok(result)
                        }
                    };
                }
                Ok(result) => return Ok(result),
            }
        }
        let found = self.find(path).await?;
        let found = found.map(|meta| version(meta.e_tag, meta.version));
        if !expected.is_met(found.as_ref()) {
            return Err(exists(path));
        }
        let put = put(PutMode::Overwrite).await;
        put.map_err(|e| failed("write", path, e))
    }

    async fn put_once(
        &self,
        path: &Path,
        bytes: Bytes,
        attributes: Attributes,
        mode: PutMode,
    ) -> object_store::Result<PutResult> {
        let options = PutOptions {
            mode,
            attributes,
            ..PutOptions::default()
        };
        self.store()
            .put_opts(path, PutPayload::from(bytes), options)
            .await
    }

    /// Writes in parts: `first`, and what follows it.
    pub(super) async fn put_large(
        &self,
        path: &Path,
        attributes: Attributes,
        first: Bytes,
        parts: Parts,
    ) -> Result<u64> {
        if self.find(path).await?.is_some() {
            return Err(exists(path));
        }
        let options = PutMultipartOptions {
            attributes,
            ..PutMultipartOptions::default()
        };
        let upload = self.store().put_multipart_opts(path, options).await;
        let mut upload = upload.map_err(|e| failed("write", path, e))?;
        let sent = async {
            let concurrency = self.bucket.upload.concurrency;
            let size = send_parts(upload.as_mut(), concurrency, path, first, parts).await?;
            if self.find(path).await?.is_some() {
                return Err(exists(path));
            }
            let completed = upload.complete().await;
            completed.map_err(|e| failed("write", path, e))?;
            Ok(size)
        };
        let sent = sent.await;
        if sent.is_err() {
            // The first failure is the one to report; the store forgets parts by its own rules.
            let _ = upload.abort().await;
        }
        sent
    }
}

fn mode(expected: Expected<'_>) -> PutMode {
    match expected {
        Expected::Absent => PutMode::Create,
        Expected::Version(version) => PutMode::Update(UpdateVersion {
            e_tag: version.tag.clone(),
            version: version.number.clone(),
        }),
    }
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    concurrency: usize,
    path: &Path,
    first: Bytes,
    mut parts: Parts,
) -> Result<u64> {
    let mut size = 0;
    let mut part = first;
    let mut sending = FuturesUnordered::new();
    let confirmed = |sent: object_store::Result<()>| sent.map_err(|e| failed("write", path, e));
    for _ in 0..PARTS_MAX {
        if part.is_empty() {
            while let Some(sent) = sending.next().await {
                confirmed(sent)?;
            }
            return Ok(size);
        }
        size += part.len() as u64;
        if sending.len() >= concurrency
            && let Some(sent) = sending.next().await
        {
            confirmed(sent)?;
        }
        sending.push(upload.put_part(PutPayload::from(part)));
        part = parts.next(path).await?;
    }
    Err(Error::invalid(format!(
        "{path} has more than {PARTS_MAX} parts of {} bytes: set a larger `part-size`",
        parts.part_len
    )))
}

/// A body, cut into parts of one size.
pub(super) struct Parts {
    body: Body,
    part_len: usize,
    /// What came with the last part and belongs to the next.
    rest: Bytes,
    is_ended: bool,
}

impl Parts {
    pub(super) fn new(body: Body, part_len: usize) -> Self {
        Self {
            body,
            part_len,
            rest: Bytes::new(),
            is_ended: false,
        }
    }

    /// The next part; shorter than the others only at the end, and empty after it.
    pub(super) async fn next(&mut self, path: &Path) -> Result<Bytes> {
        let mut part = BytesMut::new();
        while part.len() < self.part_len {
            if self.rest.is_empty() {
                // A body must not be asked again after its end.
                let piece = if self.is_ended {
                    None
                } else {
                    self.body.next().await
                };
                let Some(piece) = piece else {
                    self.is_ended = true;
                    break;
                };
                self.rest = piece.map_err(|e| {
                    Error::unavailable(format!("cannot read what to write as {path}"))
                        .with_source(e)
                })?;
            }
            let len = self.rest.len().min(self.part_len - part.len());
            part.extend_from_slice(&self.rest.split_to(len));
        }
        Ok(part.freeze())
    }
}
