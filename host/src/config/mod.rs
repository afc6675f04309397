//! The encrypted configuration that lives inside the application's own database.
//!
//! Every save is one more row of `app_config`: an age v1 file, encrypted to the first identity of
//! the key file and opened by any of them. Scope, format, description and time are not encrypted. A
//! seal beside each save tells whether somebody with the key made it.

mod blob;
mod keys;
mod kit;
mod new_database;
mod schema;
mod seal;
mod seals;
mod seen;
mod store;

pub use blob::PLAINTEXT_MAX;
pub use keys::{Identities, KeyFile, KeyFileCheck, NewKey};
pub use kit::{KIT_MAX, Passphrase, RecoveryKit};
pub(crate) use schema::LOGS as LOGS_SCHEMA;
pub use seals::Resealed;
pub use store::{APPLICATION_SCOPE, ConfigStore, Entry, HistoryRow, LITESTREAM_SCOPE};

#[cfg(test)]
mod tests;
