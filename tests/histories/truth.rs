//! What the database held, and when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockkeeper_ltx::Txid;
use lockkeeper_tests::changes::{self, State};
use lockkeeper_tests::database;
use rusqlite::Connection;
use tempfile::TempDir;

/// What is known of a database.
#[derive(Debug)]
pub(crate) struct Truth {
    folder: TempDir,
    /// Every state that it ever had, by the number of transactions.
    states: BTreeMap<u32, State>,
    /// The database at transactions.
    points: BTreeMap<Txid, PathBuf>,
    /// What it holds now.
    now: State,
    /// How many transactions were confirmed as durable.
    durable: u32,
}

impl Truth {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            states: BTreeMap::new(),
            points: BTreeMap::new(),
            now: State::default(),
            durable: 0,
        }
    }

    /// The database holds this now.
    pub(crate) fn holds(&mut self, state: State) {
        let known = self.states.insert(state.commits, state);
        assert!(
            known.is_none_or(|known| known == state),
            "the database changed by itself: {known:?}, now {state:?}"
        );
        self.now = state;
    }

    /// A place for a copy of the database.
    pub(crate) fn copy(&self) -> PathBuf {
        self.folder.path().join("copy.db")
    }

    /// Whether `restored` is the copy, byte for byte.
    pub(crate) fn is_copied(&self, restored: &Path) -> bool {
        std::fs::read(restored).unwrap() == std::fs::read(self.copy()).unwrap()
    }

    /// What it holds now is durable.
    pub(crate) fn is_durable(&mut self) {
        self.durable = self.now.commits;
    }

    /// The copy is the database at a transaction.
    pub(crate) fn is_known(&mut self, txid: Txid) {
        let path = self.folder.path().join(format!("{txid}.db"));
        std::fs::rename(self.copy(), &path).unwrap();
        self.points.insert(txid, path);
    }

    /// Fails unless `restored` is the database at `txid`: byte for byte if that is known, and
    /// otherwise one of its states.
    #[track_caller]
    pub(crate) fn check(&self, txid: Txid, restored: &Path, what: &str) {
        if let Some(point) = self.points.get(&txid) {
            let bytes = |path: &Path| std::fs::read(path).unwrap();
            let what = format!("{what}, the database at {txid}");
            database::assert_same_bytes(&bytes(restored), &bytes(point), &what);
        }
        let found = self.state_of(restored, what);
        let truth = self.states.get(&found.commits);
        assert_eq!(Some(&found), truth, "{what}: no state of the database");
    }

    /// Fails unless the newest state of the replica has everything that was confirmed; unless it
    /// has everything, if it must be complete.
    #[track_caller]
    pub(crate) fn check_newest(&self, restored: &Path, is_complete: bool) {
        let found = self.state_of(restored, "the newest state");
        let least = if is_complete {
            self.now.commits
        } else {
            self.durable
        };
        assert!(
            (least..=self.now.commits).contains(&found.commits),
            "the newest state has {} of {least} to {} transactions",
            found.commits,
            self.now.commits
        );
    }

    #[track_caller]
    fn state_of(&self, restored: &Path, what: &str) -> State {
        // Beside it, so that the restored file stays what it is.
        let path = self.folder.path().join("looked-at.db");
        for left in [&path, &database::wal(&path), &database::shm(&path)] {
            let _ = std::fs::remove_file(left);
        }
        std::fs::copy(restored, &path).unwrap();
        let connection = Connection::open(&path).unwrap();
        let sound: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(sound, "ok", "{what}");
        changes::state(&connection).unwrap()
    }
}
