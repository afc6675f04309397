//! A folder with a database, its replica and a `litestream.yml`.

use std::path::{Path, PathBuf};

use lockkeeper_ltx::{FileName, Txid, TxidRange};
use tempfile::TempDir;

use crate::database;

/// Where a hazard is staged for one program.
#[derive(Debug)]
pub(super) struct Place(TempDir);

impl Place {
    /// Every setting has its default, but for `more` at the top of the configuration and
    /// `of_replica` in its replica.
    pub(super) fn new(more: &str, of_replica: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("make a folder"));
        let dir = place.0.path().display();
        let config = format!(
            "socket: {{enabled: true, path: {dir}/control.sock}}\n\
             {more}\n\
             dbs:\n  - path: {dir}/app.db\n    replica: {{path: {dir}/replica, {of_replica}}}\n"
        );
        std::fs::write(place.config(), config).expect("write the configuration");
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path("app.db")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path("litestream.yml")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    pub(super) fn replica(&self) -> PathBuf {
        self.path("replica")
    }

    pub(super) fn replica_url(&self) -> String {
        format!("file://{}", self.replica().display())
    }

    pub(super) fn level(&self, level: u8) -> PathBuf {
        self.replica().join(format!("ltx/{level}"))
    }

    /// The newest local file.
    pub(super) fn newest_local(&self) -> PathBuf {
        let folder = database::state_directory(&self.database()).join("ltx/0");
        let newest = *ranges(&folder).last().expect("something was captured");
        folder.join(FileName::new(newest).to_string())
    }

    /// What was said, without what differs from place to place.
    pub(super) fn quote(&self, said: &str) -> String {
        let said = said.replace(&format!("{}/", self.0.path().display()), "");
        format!("`{}`", without_txids(&said).replace(['|', '`'], "'"))
    }
}

/// Sixteen hexadecimal digits in a row are a transaction.
fn without_txids(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_hexdigit();
    let mut short = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_digit) {
        let (before, digits) = rest.split_at(at);
        let (digits, after) =
            digits.split_at(digits.find(|c| !is_digit(c)).unwrap_or(digits.len()));
        short.push_str(before);
        short.push_str(if digits.len() == 16 { "…" } else { digits });
        rest = after;
    }
    short + rest
}

/// The transactions of the files in a folder, in their order.
pub(super) fn ranges(folder: &Path) -> Vec<TxidRange> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("list a folder").file_name());
    let mut found: Vec<TxidRange> = names
        .filter_map(|name| name.to_str()?.parse::<FileName>().ok())
        .map(FileName::range)
        .collect();
    found.sort_unstable_by_key(|&range| TxidRange::max(range));
    found
}

/// The last transaction of the files in a folder.
pub(super) fn newest(folder: &Path) -> Option<Txid> {
    ranges(folder).last().map(|&range| TxidRange::max(range))
}
