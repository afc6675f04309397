//! The control socket: what an operator asks of replication that runs.
//!
//! It speaks HTTP and JSON over a Unix socket, and its requests are those of Litestream 0.5, so
//! that either command line can be used with either program:
//!
//! | request | answer |
//! |---|---|
//! | `GET /info` | [`Info`] |
//! | `GET /list` | [`List`] |
//! | `GET /status` | [`Report`]; Litestream does not have it |
//! | `GET /txid?path=DB` | [`TxidAnswer`] |
//! | `POST /sync` with a [`SyncRequest`] | [`SyncAnswer`] |
//! | `POST /verify` with a [`VerifyRequest`] | [`VerifyAnswer`]; Litestream does not have it |
//! | `GET /policy` | [`DecidingReport`] |
//! | `POST /policy/install?sha256=…&shadow=N&seconds=N` with a component | [`InstallAnswer`] |
//! | `POST /policy/reload` | [`InstallAnswer`] |
//! | `POST /policy/rollback` | [`DecidingReport`] |
//!
//! A failure is a status above 299 with a [`Failure`]: 400 for a request that makes no sense, 404
//! for a database that is not replicated, 405 for another method, 409 for a database whose
//! replication has ended, 500 for everything else. Who may connect is decided by the permissions of
//! the socket alone.

mod client;
mod policies;
mod routes;
mod server;
mod socket;
mod wire;

pub use client::Client;
pub use policies::{DecidingReport, DecisionReport, InstallAnswer, PolicyIdentity};
pub(crate) use server::run;
pub(crate) use socket::ControlSettings;
pub use wire::{
    AlertReport, DatabaseReport, Failure, HeldReport, Info, List, Listed, PointReport,
    PolicyReport, Report, RequestsReport, SyncAnswer, SyncRequest, TxidAnswer, VerifyAnswer,
    VerifyRequest, WindowReport,
};

/// The longest a sync or a verification is waited for, in seconds, and how long unless it is said.
pub const SYNC_SECONDS_MAX: u64 = 60 * 60;
const SYNC_SECONDS_DEFAULT: u64 = 30;

#[cfg(test)]
mod tests;
