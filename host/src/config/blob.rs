//! The encrypted form of a configuration: an age v1 file that the `age` tool opens as well.

use std::fmt;
use std::io::{Read, Write};

use age::DecryptError;
use zeroize::Zeroizing;

use super::keys::Identities;
use crate::policy::COMPONENT_BYTES_MAX;
use crate::{Error, Result};

/// The largest configuration that is saved or opened, in bytes: a policy component may be one.
pub const PLAINTEXT_MAX: usize = COMPONENT_BYTES_MAX;

/// Room for the age header and the tag of each chunk, beside [`PLAINTEXT_MAX`].
const CIPHERTEXT_MAX: usize = PLAINTEXT_MAX + 16 * 1024;

/// What is read of one that is too large.
pub(super) const READ_MAX: i64 = CIPHERTEXT_MAX as i64 + 1;

/// Why a blob was not opened.
pub(super) enum Closed {
    /// It is for another key.
    NoMatchingKey,
    /// It is no age file, or was changed.
    Damaged(String),
}

/// Encrypts to the first of `identities`.
pub(super) fn encrypt(identities: &Identities, plaintext: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: &dyn fmt::Display| Error::internal(format!("cannot encrypt: {error}"));
    let recipient = identities.first_recipient()?;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _))
        .map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    let mut writer = encryptor
        .wrap_output(&mut content)
        .map_err(|error| failed(&error))?;
    writer
        .write_all(plaintext)
        .map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(content)
}

/// Decrypts with whichever of `identities` fits.
pub(super) fn decrypt(
    identities: &Identities,
    content: &[u8],
) -> std::result::Result<Zeroizing<Vec<u8>>, Closed> {
    if content.len() > CIPHERTEXT_MAX {
        return Err(Closed::Damaged("larger than 8 MiB".into()));
    }
    let opened = age::Decryptor::new_buffered(content)
        .and_then(|decryptor| decryptor.decrypt(identities.each()));
    let mut reader = opened.map_err(|error| match error {
        DecryptError::NoMatchingKeys => Closed::NoMatchingKey,
        other => Closed::Damaged(other.to_string()),
    })?;
    // Full capacity up front: a buffer that grows leaves unwiped copies behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(content.len()));
    reader
        .read_to_end(&mut plaintext)
        .map_err(|error| Closed::Damaged(error.to_string()))?;
    Ok(plaintext)
}
