//! The flags of commands that ask a running process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::value_parser;
use lockkeeper::control::{Client, SYNC_SECONDS_MAX};

use crate::args::Globals;
use crate::source::Source;

/// Where Litestream has its socket.
const SOCKET: &str = "/var/run/litestream.sock";

#[derive(clap::Args)]
pub(crate) struct Control {
    /// The control socket (default: where the configuration has it, else /var/run/litestream.sock)
    #[arg(long, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
    /// How long an answer may take (default: 10; 30 for sync, 3600 for verify)
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=SYNC_SECONDS_MAX))]
    timeout: Option<u64>,
}

impl Control {
    /// How many seconds an answer may take.
    pub(crate) fn seconds(&self, default: u64) -> u64 {
        self.timeout.unwrap_or(default)
    }

    /// Asks at the socket that the flags name, or the configuration.
    pub(crate) fn client(
        &self,
        source: &Source,
        globals: &Globals,
        default: u64,
    ) -> Result<Client> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None if source.is_named(globals) => source.socket(globals)?,
            None => PathBuf::from(SOCKET),
        };
        Ok(self.client_at(socket, default))
    }

    pub(crate) fn client_at(&self, socket: PathBuf, default: u64) -> Client {
        Client::new(socket, Duration::from_secs(self.seconds(default)))
    }
}
