//! The encrypted configuration that lives inside the application's own database.
//!
//! Every save is one more row of `app_config`: an age v1 file, encrypted to the first identity of
//! the key file and opened by any of them. Scope, format, description and time are not encrypted.

mod keys;
mod schema;
mod store;

pub use keys::{Identities, KeyFile, KeyFileCheck, NewKey};
pub use store::{
    APPLICATION_SCOPE, ConfigStore, Entry, HistoryRow, LITESTREAM_SCOPE, PLAINTEXT_MAX,
};
