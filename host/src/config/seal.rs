//! What binds a saved configuration to its place, so that only who has the key can put one there.
//!
//! Who can write to the database knows the public key, or can read it off nothing at all, and can
//! encrypt whatever they like to it. A seal is an HMAC-SHA-256 whose key is derived from the
//! identity by HKDF; see `docs/adr` for what it defends against and what not.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Keeps this use of the identity apart from every other.
const PURPOSE: &[u8] = b"lockkeeper: seal of a configuration, version 1";
const KEY_LEN: usize = 32;

/// The key of the seals of one identity.
pub(super) struct SealKey(Zeroizing<[u8; KEY_LEN]>);

/// Everything of a saved configuration that a seal covers.
pub(super) struct Sealed<'a> {
    pub(super) scope: &'a str,
    /// Which save of its scope it is: 1, 2, 3, …
    pub(super) sequence: i64,
    pub(super) format: &'a str,
    pub(super) description: &'a str,
    /// Orders the saves, so it is part of what must not be changed.
    pub(super) created_at: &'a str,
    /// The encrypted configuration.
    pub(super) content: &'a [u8],
}

impl SealKey {
    /// Derives the key from the text of an identity.
    pub(super) fn derive(identity: &[u8]) -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        Hkdf::<Sha256>::new(None, identity)
            .expand(PURPOSE, key.as_mut_slice())
            .map_err(|error| Error::internal(format!("cannot derive a key: {error}")))?;
        Ok(Self(key))
    }

    /// The seal of `sealed`.
    pub(super) fn seal(&self, sealed: &Sealed<'_>) -> Result<Vec<u8>> {
        Ok(self.mac(sealed)?.finalize().into_bytes().to_vec())
    }

    /// Whether `seal` is that of `sealed`; takes the same time either way.
    pub(super) fn verifies(&self, sealed: &Sealed<'_>, seal: &[u8]) -> Result<bool> {
        Ok(self.mac(sealed)?.verify_slice(seal).is_ok())
    }

    fn mac(&self, sealed: &Sealed<'_>) -> Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .map_err(|error| Error::internal(format!("cannot seal: {error}")))?;
        mac.update(&sealed.sequence.to_be_bytes());
        // With its length before it, no field can take bytes of its neighbour.
        for field in [
            sealed.scope.as_bytes(),
            sealed.format.as_bytes(),
            sealed.description.as_bytes(),
            sealed.created_at.as_bytes(),
            sealed.content,
        ] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        Ok(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Sealed<'_> = Sealed {
        scope: "litestream",
        sequence: 1,
        format: "yml",
        description: "first",
        created_at: "2026-01-31T09:30:00Z",
        content: b"content",
    };

    #[test]
    fn a_seal_fits_what_was_sealed_and_nothing_else() {
        let key = SealKey::derive(b"AGE-SECRET-KEY-1A").unwrap();
        let seal = key.seal(&ONE).unwrap();
        assert!(key.verifies(&ONE, &seal).unwrap());
        for other in [
            Sealed {
                scope: "application",
                ..ONE
            },
            Sealed { sequence: 2, ..ONE },
            Sealed {
                format: "toml",
                ..ONE
            },
            Sealed {
                description: "other",
                ..ONE
            },
            Sealed {
                created_at: "2026-01-31T09:30:01Z",
                ..ONE
            },
            Sealed {
                content: b"contend",
                ..ONE
            },
            // The same bytes, cut elsewhere.
            Sealed {
                scope: "litestreamy",
                format: "ml",
                ..ONE
            },
        ] {
            assert!(!key.verifies(&other, &seal).unwrap(), "{}", other.scope);
        }
        assert!(!key.verifies(&ONE, &seal[..31]).unwrap());
        assert!(!key.verifies(&ONE, b"").unwrap());
        let stranger = SealKey::derive(b"AGE-SECRET-KEY-1B").unwrap();
        assert!(!stranger.verifies(&ONE, &seal).unwrap());
    }

    /// Databases hold seals of this version for as long as they live.
    #[test]
    fn the_seals_of_version_1_never_change() {
        let seal = SealKey::derive(b"AGE-SECRET-KEY-1A").unwrap().seal(&ONE);
        let hex: String = seal
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "fc2333425079ff340c3315d79af5045f0975538ae475bcec8e09afd8b0329179"
        );
    }
}
