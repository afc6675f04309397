use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::seal::SealKey;
use crate::{Error, Result};

/// Larger than any sensible key file; keeps a wrong path from filling the memory.
const KEY_FILE_MAX: u64 = 64 * 1024;

/// An identity and its public half, each on a line, with room to spare.
const IDENTITY_TEXT_MAX: usize = 256;

/// How strictly [`KeyFile::read`] looks at the file around the keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyFileCheck {
    /// Refuses symbolic links, files that others can access, and files of another user.
    Strict,
    /// Accepts them, for secrets that an orchestrator mounts; still only a regular file.
    Override,
}

/// An age key file.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// use lockkeeper::config::{KeyFile, KeyFileCheck};
///
/// let path = folder.path().join("age_key.txt");
/// let key = KeyFile::generate();
/// key.write(&path)?; // only its owner can read it
/// assert!(key.text().contains(key.recipient()));
/// let identities = KeyFile::read(&path, KeyFileCheck::Strict)?;
/// assert_eq!(identities.recipient(), key.recipient());
/// assert_eq!(identities.path(), path);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum KeyFile {}

impl KeyFile {
    /// Reads the identities of the key file at `path`.
    ///
    /// # Errors
    ///
    /// If the file is missing, is not a regular file, fails `check`, or holds anything else than
    /// age X25519 identities, comments and blank lines. No message contains a line of the file.
    pub fn read(path: impl AsRef<Path>, check: KeyFileCheck) -> Result<Identities> {
        let path = path.as_ref();
        let text = read_text(path, check)?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.trim_end().parse::<Identity>().map_err(|_| {
                Error::invalid(format!(
                    "line {} of age key file {} is not an age X25519 identity: \
                     fix or remove that line",
                    index + 1,
                    path.display()
                ))
            })?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(Error::invalid(format!(
                "age key file {} holds no identity: make one with `lockkeeper keygen -o FILE`",
                path.display()
            )));
        }
        Ok(Identities {
            path: path.to_owned(),
            keys,
        })
    }

    /// Makes a new random key; nothing is written yet.
    #[must_use]
    pub fn generate() -> NewKey {
        let identity = Identity::generate();
        let recipient = identity.to_public().to_string();
        let text = Zeroizing::new(format!(
            "# created: {:.0}\n# public key: {recipient}\n{}\n",
            jiff::Timestamp::now(),
            identity.to_string().expose_secret()
        ));
        NewKey { text, recipient }
    }
}

/// A key that was just made, in the text form of `age-keygen`.
pub struct NewKey {
    text: Zeroizing<String>,
    recipient: String,
}

impl NewKey {
    /// The whole key file, secret included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The public half, `age1...`.
    #[must_use]
    pub fn recipient(&self) -> &str {
        &self.recipient
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    ///
    /// If `path` exists, in any form, or cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => Error::invalid(format!(
                    "key file {} already exists and is left untouched: choose another name",
                    path.display()
                )),
                _ => Error::unavailable(format!("cannot create key file {}", path.display()))
                    .with_source(error),
            })?;
        // The umask may have removed the owner's own bits.
        let written = file
            .set_permissions(fs::Permissions::from_mode(0o600))
            .and_then(|()| file.write_all(self.text.as_bytes()))
            .and_then(|()| file.sync_all());
        written.map_err(|error| {
            // Half a key is of no use, and would make the next attempt fail.
            let _ = fs::remove_file(path);
            Error::unavailable(format!("cannot write key file {}", path.display()))
                .with_source(error)
        })
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("recipient", &self.recipient)
            .finish_non_exhaustive()
    }
}

/// The identities of one key file; at least one.
pub struct Identities {
    path: PathBuf,
    keys: Vec<Identity>,
}

impl Identities {
    /// The file they were read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public half of the first identity, to which every save is encrypted.
    #[must_use]
    pub fn recipient(&self) -> String {
        self.keys
            .first()
            .map(|key| key.to_public().to_string())
            .unwrap_or_default()
    }

    /// A key file with all of them.
    pub(super) fn to_text(&self) -> Zeroizing<Vec<u8>> {
        // Full capacity up front: a buffer that grows leaves unwiped copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.keys.len() * IDENTITY_TEXT_MAX));
        for key in &self.keys {
            let public = format!("# public key: {}\n", key.to_public());
            text.extend_from_slice(public.as_bytes());
            text.extend_from_slice(key.to_string().expose_secret().as_bytes());
            text.push(b'\n');
        }
        text
    }

    pub(super) fn first_recipient(&self) -> Result<Recipient> {
        let first = self.keys.first().map(Identity::to_public);
        first.ok_or_else(|| Error::internal("a key file without identities was accepted"))
    }

    /// The keys of seals; that of new ones is first.
    pub(super) fn seal_keys(&self) -> impl Iterator<Item = Result<SealKey>> {
        self.keys.iter().map(|key| {
            let text = key.to_string();
            SealKey::derive(text.expose_secret().as_bytes())
        })
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| key as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities")
            .field("path", &self.path)
            .field("count", &self.keys.len())
            .finish()
    }
}

fn read_text(path: &Path, check: KeyFileCheck) -> Result<Zeroizing<String>> {
    let file = open(path, check)?;
    // Full capacity up front: a buffer that grows leaves unwiped copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_MAX as usize + 1));
    file.take(KEY_FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Error::unavailable(format!("cannot read age key file {}", path.display()))
                .with_source(error)
        })?;
    if bytes.len() as u64 > KEY_FILE_MAX {
        return Err(Error::invalid(format!(
            "age key file {} is larger than 64 KiB: give the path of a key file",
            path.display()
        )));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Error::invalid(format!(
            "age key file {} is not text: give the path of a key file",
            path.display()
        ))
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn open(path: &Path, check: KeyFileCheck) -> Result<File> {
    let strict = check == KeyFileCheck::Strict;
    // NONBLOCK: opening a FIFO without a writer would otherwise wait for ever.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if strict {
        flags |= OFlags::NOFOLLOW;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| {
            if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                return Error::invalid(format!(
                    "age key file {} is a symbolic link: give the path of the file itself",
                    path.display()
                ));
            }
            Error::unavailable(format!("cannot open age key file {}", path.display()))
                .with_source(error)
        })?;
    let meta = file.metadata().map_err(|error| {
        Error::unavailable(format!("cannot inspect age key file {}", path.display()))
            .with_source(error)
    })?;
    if !meta.is_file() {
        return Err(Error::invalid(format!(
            "age key file {} is not a regular file: give the path of a key file",
            path.display()
        )));
    }
    if strict && meta.mode() & 0o077 != 0 {
        return Err(Error::invalid(format!(
            "age key file {0} has mode {1:04o}, so others can access it: run `chmod 600 {0}`",
            path.display(),
            meta.mode() & 0o7777
        )));
    }
    if strict && meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::invalid(format!(
            "age key file {0} belongs to user {1}: run `chown {2} {0}`",
            path.display(),
            meta.uid(),
            rustix::process::geteuid().as_raw()
        )));
    }
    Ok(file)
}
