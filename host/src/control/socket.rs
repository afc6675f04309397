//! The file of the control socket: who may connect, and what becomes of one that is left over.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::{Error, Result};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;
/// How long whoever listens at a socket may take to let us connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Permissions proper, without the set-user-id bits.
const MODE_MASK: u32 = 0o777;

/// Where the control socket is, and who may use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ControlSettings {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
}

impl ControlSettings {
    /// Where Litestream has it.
    pub(crate) const PATH: &str = "/var/run/litestream.sock";
    /// The user of the process, nobody else.
    pub(crate) const MODE: u32 = 0o600;
}

/// A socket that accepts connections. Its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    file: SocketFile,
}

impl Listener {
    /// Makes the socket. A socket that a process left behind is replaced.
    ///
    /// # Errors
    ///
    /// `Invalid` if the path is that of something else; `Unavailable` if somebody listens there, or
    /// the socket cannot be made.
    pub(super) async fn open(settings: &ControlSettings) -> Result<Self> {
        let path = &settings.path;
        remove_left_over(path).await?;
        let make = || -> io::Result<Self> {
            let socket = UnixSocket::new_stream()?;
            socket.bind(path)?;
            let file = SocketFile::new(path)?;
            // Nobody can connect before it listens, so nobody can connect with other permissions.
            let mode = std::fs::Permissions::from_mode(settings.mode & MODE_MASK);
            std::fs::set_permissions(path, mode)?;
            let listener = socket.listen(BACKLOG)?;
            Ok(Self { listener, file })
        };
        make().map_err(|error| failed(path, error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot listen at {}", path.display())).with_source(error)
}

/// Removes a socket at which nobody listens. Nothing else is ever removed.
async fn remove_left_over(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::invalid(format!(
                "cannot listen at {}: it exists and is not a socket",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| failed(path, error))
        }
        Ok(Err(error)) => Err(failed(path, error)),
        Ok(Ok(_)) | Err(_) => Err(Error::unavailable(format!(
            "cannot listen at {}: another process does",
            path.display()
        ))),
    }
}

/// The file of a socket that we made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // By now it may be the socket of somebody else.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // A socket that stays is taken for a left-over one at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Blocking;

    use super::*;

    fn settings(dir: &Path) -> ControlSettings {
        ControlSettings {
            path: dir.join("control.sock"),
            mode: 0o640,
        }
    }

    #[tokio::test]
    async fn a_socket_has_its_permissions_and_is_gone_after_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let listener = Listener::open(&settings).await.unwrap();
        let found = std::fs::symlink_metadata(listener.path()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.mode() & 0o7777, 0o640);
        drop(listener);
        assert!(!settings.path.exists());
    }

    #[tokio::test]
    async fn a_socket_is_replaced_only_if_nobody_listens() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let other = Blocking::bind(&settings.path).unwrap();
        let error = Listener::open(&settings).await.unwrap_err();
        assert!(
            error.to_string().ends_with("another process does"),
            "{error}"
        );
        assert!(settings.path.exists());
        drop(other);
        Listener::open(&settings).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        std::fs::write(&settings.path, "precious").unwrap();
        let error = Listener::open(&settings).await.unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        std::fs::remove_file(&settings.path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &settings.path).unwrap();
        Listener::open(&settings).await.unwrap_err();
        assert!(settings.path.is_symlink());
    }

    #[tokio::test]
    async fn the_socket_of_somebody_else_is_left_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let listener = Listener::open(&settings).await.unwrap();
        // Made beside it first, so that it cannot have the number of the removed one.
        let beside = dir.path().join("beside.sock");
        let _other = Blocking::bind(&beside).unwrap();
        std::fs::rename(&beside, &settings.path).unwrap();
        drop(listener);
        assert!(settings.path.exists());
    }
}
