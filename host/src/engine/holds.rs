//! What a database keeps others from using while it is replicated.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use lockkeeper_core::ownership::Token;

use super::places::Place;
use crate::lock::StateLock;
use crate::settings::{DatabaseSettings, ReplicaPlace};
use crate::{Error, Result};

/// The file in the state directory that says who writes from here.
const IDENTITY: &str = "identity";

/// The state directory and the place of the replica.
#[derive(Debug)]
pub(super) struct Holds {
    pub(super) lock: Arc<StateLock>,
    _place: Option<Place>,
}

impl Holds {
    /// Takes both.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Conflict`] if somebody else has one of them.
    pub(super) fn take(settings: &DatabaseSettings) -> Result<Self> {
        let refused = |error: Error| {
            let text = format!("cannot replicate {}", settings.path.display());
            Error::new(error.kind(), text).with_source(error)
        };
        let lock = StateLock::acquire(&settings.meta_path()).map_err(refused)?;
        let place = match &settings.replica.place {
            ReplicaPlace::File(folder) => Place::take(folder, &settings.path).map(Some),
            ReplicaPlace::S3(place) => {
                Place::take_in_bucket(place.name(), &settings.path).map(Some)
            }
            ReplicaPlace::Gcs(place) => {
                Place::take_in_bucket(place.name(), &settings.path).map(Some)
            }
            ReplicaPlace::Azure(place) => {
                Place::take_in_bucket(place.name(), &settings.path).map(Some)
            }
            #[cfg(test)]
            ReplicaPlace::Given(_) => Ok(None),
        };
        Ok(Self {
            lock: Arc::new(lock),
            _place: place.map_err(refused)?,
        })
    }
}

/// The number that names this state directory; it is made when there is none. Only for the holder
/// of the lock.
pub(super) fn identity(meta: &Path) -> Result<Token> {
    let path = meta.join(IDENTITY);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(token) => return Ok(token),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "begins again under a new name");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(path = %path.display(), %error, "begins again under a new name");
        }
        Err(error) => return Err(failed("read", &path, error)),
    }
    let token = Token::new(rand::random());
    write(meta, &path, token).map_err(|error| failed("write", &path, error))?;
    Ok(token)
}

fn write(meta: &Path, path: &Path, token: Token) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(meta)?.sync_all()
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot {what} {}", path.display())).with_source(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_keeps_its_name_and_gets_another_when_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let first = identity(dir.path()).unwrap();
        assert_eq!(identity(dir.path()).unwrap(), first);
        for damage in [&b"not a number"[..], b"", b"\xff\xfe"] {
            fs::write(dir.path().join(IDENTITY), damage).unwrap();
            let second = identity(dir.path()).unwrap();
            assert_ne!(second, first);
            assert_eq!(identity(dir.path()).unwrap(), second);
        }
    }
}
