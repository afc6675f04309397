//! What is needed when the machine is gone, in one file that a passphrase opens.
//!
//! The credentials of the replica are inside the database, encrypted to a key on the same machine:
//! whoever loses the machine has neither. A kit is an age file with a tar archive inside, so that
//! `age -d kit | tar x` opens it as well.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::DecryptError;
use age::secrecy::SecretString;
use zeroize::Zeroizing;

use super::keys::Identities;
use super::store::{ConfigStore, LITESTREAM_SCOPE};
use crate::{Error, Result};

/// The largest kit that is read, in bytes.
pub const KIT_MAX: usize = 1 << 20;

/// The shortest passphrase of a new kit, in characters.
const PASSPHRASE_MIN: usize = 12;
/// Of scrypt, as the power of two that the `age` tool takes: about a second, and 256 MiB.
const WORK_FACTOR: u8 = 18;
/// Kits that ask for more work are refused: 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;

const KEY_NAME: &str = "age_key.txt";
const CONFIGURATION_NAME: &str = "litestream.yml";
const README_NAME: &str = "README.txt";
const SEEN_SUFFIX: &str = "-config-seen";
/// What a kit can hold: it has fewer files.
const FILES_MAX: usize = 8;

/// The words that open a kit.
pub struct Passphrase(SecretString);

/// The identities, the newest configuration of the scope `litestream`, and how to restore.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # use lockkeeper::config::{KeyFile, KeyFileCheck};
/// # let path = folder.path().join("key.txt");
/// # KeyFile::generate().write(&path)?;
/// # let identities = KeyFile::read(&path, KeyFileCheck::Strict)?;
/// # use lockkeeper::config::{ConfigStore, LITESTREAM_SCOPE};
/// # let store = ConfigStore::create(folder.path().join("app.db"), &identities)?;
/// # let text = b"dbs:\n  - path: app.db\n    replica: {path: backup}\n";
/// # store.save(&identities, LITESTREAM_SCOPE, text, "yml", "for the example")?;
/// use lockkeeper::config::{Passphrase, RecoveryKit};
///
/// let words = || "correct horse battery staple".to_owned();
/// let kit = RecoveryKit::collect(&store, &identities)?;
/// let sealed = kit.seal(&Passphrase::for_new_kit(words())?)?; // keep it elsewhere
///
/// let opened = RecoveryKit::open(&sealed, &Passphrase::new(words()))?;
/// # let new_machine = tempfile::tempdir()?;
/// let files = opened.unpack(new_machine.path())?;
/// assert!(files.contains(&new_machine.path().join("age_key.txt")));
/// # Ok(())
/// # }
/// ```
pub struct RecoveryKit {
    files: Vec<(String, Zeroizing<Vec<u8>>)>,
}

impl Passphrase {
    /// The passphrase of a kit that exists.
    #[must_use]
    pub fn new(words: String) -> Self {
        Self(SecretString::from(words))
    }

    /// The passphrase of a new kit.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is too short to withstand guessing.
    pub fn for_new_kit(words: String) -> Result<Self> {
        if words.chars().count() < PASSPHRASE_MIN {
            return Err(Error::invalid(format!(
                "the passphrase is shorter than {PASSPHRASE_MIN} characters: take some words more, \
                 for who has the kit can try as often as they like"
            )));
        }
        Ok(Self::new(words))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.files.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl RecoveryKit {
    /// Collects what a new machine needs for the databases of `store`.
    ///
    /// # Errors
    ///
    /// As [`ConfigStore::get`]: a kit without a configuration would be of no use.
    pub fn collect(store: &ConfigStore, identities: &Identities) -> Result<Self> {
        let configuration = store.get(identities, LITESTREAM_SCOPE, 0)?;
        let database = store.path.file_name().unwrap_or_default();
        let database = database.to_string_lossy();
        let mut files = vec![
            (README_NAME.to_owned(), readme(&database)),
            (KEY_NAME.to_owned(), identities.to_text()),
            (CONFIGURATION_NAME.to_owned(), configuration.plaintext),
        ];
        let seen = store.seen.read()?;
        if !seen.is_empty() {
            let text = serde_json::to_vec(&seen)
                .map_err(|error| Error::internal("cannot write JSON").with_source(error))?;
            files.push((format!(".{database}{SEEN_SUFFIX}"), Zeroizing::new(text)));
        }
        Ok(Self { files })
    }

    /// Encrypts the kit. Takes about a second, and 256 MiB of memory.
    ///
    /// # Errors
    ///
    /// `Internal` if that cannot be done.
    pub fn seal(&self, passphrase: &Passphrase) -> Result<Vec<u8>> {
        let failed = |error: &dyn fmt::Display| Error::internal(format!("cannot encrypt: {error}"));
        let mut recipient = age::scrypt::Recipient::new(passphrase.0.clone());
        recipient.set_work_factor(WORK_FACTOR);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _))
            .map_err(|error| failed(&error))?;
        let mut sealed = Vec::new();
        let mut writer = encryptor
            .wrap_output(&mut sealed)
            .map_err(|error| failed(&error))?;
        let archive = self.archive().map_err(|error| failed(&error))?;
        writer.write_all(&archive).map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))?;
        Ok(sealed)
    }

    /// Opens a kit. Takes as long as [`RecoveryKit::seal`] took.
    ///
    /// # Errors
    ///
    /// `Invalid` if the passphrase does not open it, or it is no kit. `Corrupt` if it is damaged.
    pub fn open(sealed: &[u8], passphrase: &Passphrase) -> Result<Self> {
        let no_kit = || Error::invalid("this is no recovery kit: give the file that was exported");
        if sealed.len() > KIT_MAX {
            return Err(no_kit());
        }
        let decryptor = age::Decryptor::new_buffered(sealed).map_err(|_| no_kit())?;
        if !decryptor.is_scrypt() {
            return Err(no_kit());
        }
        let mut identity = age::scrypt::Identity::new(passphrase.0.clone());
        identity.set_max_work_factor(WORK_FACTOR_MAX);
        let opened = decryptor.decrypt(std::iter::once(&identity as _));
        let mut reader = opened.map_err(|error| match error {
            DecryptError::ExcessiveWork { .. } => {
                Error::invalid("the recovery kit asks for more work than any kit of ours does")
            }
            _ => Error::invalid("the passphrase does not open the recovery kit"),
        })?;
        let mut archive = Zeroizing::new(Vec::with_capacity(sealed.len()));
        let damaged = |error| Error::corrupt("the recovery kit is damaged").with_source(error);
        reader.read_to_end(&mut archive).map_err(damaged)?;
        Self::from_archive(&archive).map_err(damaged)
    }

    /// Writes the files of the kit into `folder`, where only their owner can read them. Returns
    /// their paths.
    ///
    /// # Errors
    ///
    /// `Invalid` if one of them is there already. `Unavailable` if one cannot be written. Either
    /// way none is left behind.
    pub fn unpack(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for (name, content) in &self.files {
            let path = folder.join(name);
            if let Err(error) = write_new(&path, content, &mut written) {
                for path in written {
                    // Otherwise the next attempt would fail as well.
                    let _ = fs::remove_file(path);
                }
                return Err(match error.kind() {
                    std::io::ErrorKind::AlreadyExists => Error::invalid(format!(
                        "{} already exists and is left untouched: choose another folder",
                        path.display()
                    )),
                    _ => Error::unavailable(format!("cannot write {}", path.display()))
                        .with_source(error),
                });
            }
        }
        Ok(written)
    }

    fn archive(&self) -> std::io::Result<Zeroizing<Vec<u8>>> {
        // Full capacity up front: a buffer that grows leaves unwiped copies behind.
        let content: usize = self.files.iter().map(|(_, content)| content.len()).sum();
        let buffer = Vec::with_capacity(content + FILES_MAX * 2 * 512 + 1024);
        let mut builder = tar::Builder::new(buffer);
        for (name, content) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_slice())?;
        }
        builder.into_inner().map(Zeroizing::new)
    }

    fn from_archive(bytes: &[u8]) -> std::io::Result<Self> {
        let invalid = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        let mut files = Vec::new();
        for entry in tar::Archive::new(bytes).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            if !is_known(&name) || files.len() == FILES_MAX {
                return Err(invalid("it holds what no kit holds"));
            }
            let mut content = Zeroizing::new(Vec::with_capacity(bytes.len()));
            entry.read_to_end(&mut content)?;
            files.push((name, content));
        }
        for needed in [KEY_NAME, CONFIGURATION_NAME] {
            if !files.iter().any(|(name, _)| name == needed) {
                return Err(invalid("it is not complete"));
            }
        }
        Ok(Self { files })
    }
}

fn is_known(name: &str) -> bool {
    let is_seen = name.starts_with('.') && name.ends_with(SEEN_SUFFIX) && !name.contains('/');
    is_seen || [README_NAME, KEY_NAME, CONFIGURATION_NAME].contains(&name)
}

fn write_new(path: &Path, content: &[u8], written: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    written.push(path.to_owned());
    file.write_all(content)?;
    file.sync_all()
}

fn readme(database: &str) -> Zeroizing<Vec<u8>> {
    let text = format!(
        "This is what is needed to get {database} back when its machine is gone.\n\
         \n\
         {KEY_NAME}     opens the configuration that is stored in the database\n\
         {CONFIGURATION_NAME}  says where the replicas are, with the credentials\n\
         \n\
         In the folder where the application ran, or with the paths in {CONFIGURATION_NAME}\n\
         changed to where it will run:\n\
         \n\
         \x20   lockkeeper restore -config {CONFIGURATION_NAME} ./{database}\n\
         \x20   rm {CONFIGURATION_NAME}   # it is in the database again\n\
         \n\
         Litestream 0.5 restores as well: litestream restore -config {CONFIGURATION_NAME} ./{database}\n\
         \n\
         Then start the application with {KEY_NAME}, and export a new kit.\n"
    );
    Zeroizing::new(text.into_bytes())
}

#[cfg(test)]
mod tests;
