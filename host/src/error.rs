use std::error::Error as StdError;
use std::fmt;

use crate::policy::Diagnostic;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file, a lock, the network or the replica did not answer: try again.
    Unavailable,
    /// The call or the configuration is wrong: fix it.
    Invalid,
    /// Bytes on disk or in the replica are damaged: restore, or reset.
    Corrupt,
    /// The object is there already, or another version of it; nothing was overwritten: look at what
    /// is there.
    Conflict,
    /// Another writer owns the replica: decide which of the two goes on, and stop the other.
    Fenced,
    /// A bug in lockkeeper: report it.
    Internal,
}

/// Any failure of this library: what happened, to what, and what to do.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lockkeeper::{ErrorKind, Lockkeeper};
///
/// let error = Lockkeeper::builder().config("dbs: [{pth: app.db}]").read().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.diagnostics()[0].path, "dbs[0]");
/// println!("{error}"); // all of it, on a line each
/// # Ok(())
/// # }
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
            diagnostics: Vec::new(),
        }
    }

    /// A configuration that is not valid.
    pub(crate) fn from_diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        let list: String = diagnostics
            .iter()
            .map(|found| format!("\n  {found}"))
            .collect();
        Self {
            diagnostics,
            ..Self::invalid(format!("the litestream configuration is not valid:{list}"))
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is wrong with a configuration, if that is the error; every problem and warning.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether SQLite waited in vain for a lock, which others give back sooner or later.
    pub(crate) fn is_busy(&self) -> bool {
        self.sqlite_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
    }

    /// What SQLite said, if it is the cause.
    pub(crate) fn sqlite_code(&self) -> Option<rusqlite::ErrorCode> {
        let source = self.source.as_deref();
        source
            .and_then(|source| source.downcast_ref::<rusqlite::Error>())
            .and_then(rusqlite::Error::sqlite_error_code)
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Prints the message and the messages of its causes, joined by colons.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

// The causes are part of the message, so they are not offered again as sources.
impl StdError for Error {}

/// The result of everything in this library.
pub type Result<T> = std::result::Result<T, Error>;
