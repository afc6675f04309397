//! Where a policy component comes from.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The largest component that is read, in bytes. An unoptimised build with the standard library has
/// about 5 MiB, and one that brings the engine of JavaScript along 12 MiB.
pub const COMPONENT_BYTES_MAX: usize = 16 << 20;

/// Where a policy component comes from.
#[derive(Clone, Default)]
pub enum PolicySource {
    /// The one that is built into the library.
    #[default]
    Embedded,
    /// A file with a component in binary form.
    File(PathBuf),
    /// A component in binary form.
    Bytes(Vec<u8>),
}

impl PolicySource {
    /// The component in binary form.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        let bytes = match self {
            Self::Embedded => lockkeeper_component::DEFAULT_POLICY.to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::File(path) => {
                let fail =
                    |error| Error::unavailable(format!("cannot read {self}")).with_source(error);
                let mut bytes = Vec::new();
                // One more than allowed shows that there is more than allowed.
                let limit = u64::try_from(COMPONENT_BYTES_MAX).map_or(u64::MAX, |max| max + 1);
                let file = File::open(path).map_err(fail)?;
                file.take(limit).read_to_end(&mut bytes).map_err(fail)?;
                bytes
            }
        };
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{self} is larger than {} MiB",
                COMPONENT_BYTES_MAX >> 20
            )));
        }
        Ok(bytes)
    }
}

impl PolicySource {
    /// The SHA-256 of the component, in hexadecimal.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be read, `Invalid` if it is too large.
    pub fn digest(&self) -> Result<String> {
        Ok(hex(&Sha256::digest(self.read()?)))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("the embedded policy"),
            Self::File(path) => write!(f, "the policy {}", path.display()),
            Self::Bytes(bytes) => write!(f, "the policy of {} bytes", bytes.len()),
        }
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}
