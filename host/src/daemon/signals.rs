//! The signals that an operator or a service manager sends.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Error, Result};

/// SIGINT, SIGTERM, SIGQUIT and SIGHUP. From its making on they no longer end the process by
/// themselves.
///
/// # Example
///
/// ```no_run
/// # async fn example() -> lockkeeper::Result<()> {
/// use lockkeeper::{Asked, Signals};
/// let mut signals = Signals::listen()?;
/// match signals.next().await {
///     Asked::Reload => println!("the configuration is read again"),
///     Asked::End(name) => println!("{name}: a second signal ends it at once"),
/// }
/// println!("ended by {}", signals.end().await);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// To end; the signal has this name.
    End(&'static str),
    /// To read the configuration again (SIGHUP).
    Reload,
}

impl Signals {
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the system does not let us listen.
    pub fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::unavailable("cannot listen to signals").with_source(error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost when the future is dropped.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Asked::End("SIGINT"),
            _ = self.terminate.recv() => Asked::End("SIGTERM"),
            _ = self.quit.recv() => Asked::End("SIGQUIT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits for the next that asks to end; returns its name.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost when the future is dropped.
    pub async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}
