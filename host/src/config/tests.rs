//! What somebody can do who writes to the database and knows the public key, and what is noticed.

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::blob;
use super::*;
use crate::{ErrorKind, Result};

const SCOPE: &str = LITESTREAM_SCOPE;

/// An application database with two saves of one scope, and the key it was made with.
struct Fixture {
    dir: TempDir,
    identities: Identities,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identities = key(&dir, "key");
        let store = ConfigStore::create(dir.path().join("app.db"), &identities).unwrap();
        let fixture = Self { dir, identities };
        for text in ["one", "two"] {
            fixture.save(&store, text);
        }
        fixture
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    fn save(&self, store: &ConfigStore, text: &str) {
        let saved = store.save(&self.identities, SCOPE, text.as_bytes(), "yml", text);
        saved.unwrap();
    }

    /// A store as a process has it that starts now.
    fn store(&self) -> ConfigStore {
        ConfigStore::open(self.path()).unwrap()
    }

    fn get(&self, generation: u32) -> Result<Entry> {
        self.store().get(&self.identities, SCOPE, generation)
    }

    fn newest(&self) -> String {
        text(&self.get(0).unwrap())
    }

    /// As on a machine to which only the database came.
    fn forget(&self) {
        std::fs::remove_file(self.dir.path().join(".app.db-config-seen")).unwrap();
    }

    /// What an injected statement could do.
    fn sql(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Inserts what anybody could have encrypted, as the newest.
    fn insert_unsealed(&self, text: &str) {
        let content = blob::encrypt(&self.identities, text.as_bytes()).unwrap();
        let connection = Connection::open(self.path()).unwrap();
        connection
            .execute(
                "INSERT INTO app_config (scope, content, format) VALUES (?1, ?2, 'yml')",
                rusqlite::params![SCOPE, content],
            )
            .unwrap();
    }

    #[track_caller]
    fn refuses(&self, kind: ErrorKind, part: &str) {
        let error = self.get(0).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

fn key(dir: &TempDir, name: &str) -> Identities {
    let path = dir.path().join(name);
    KeyFile::generate().write(&path).unwrap();
    KeyFile::read(path, KeyFileCheck::Strict).unwrap()
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.plaintext.to_vec()).unwrap()
}

#[test]
fn what_was_saved_is_sealed_and_opened() {
    let fixture = Fixture::new();
    for (generation, expected) in [(0, "two"), (1, "one")] {
        let entry = fixture.get(generation).unwrap();
        assert_eq!(text(&entry), expected);
        assert!(entry.sealed);
    }
    let rows = fixture.store().history(None).unwrap();
    assert!(rows.iter().all(|row| row.sealed), "{rows:?}");
}

#[test]
fn a_configuration_encrypted_to_the_public_key_alone_is_refused() {
    let fixture = Fixture::new();
    fixture.insert_unsealed("evil");
    fixture.refuses(ErrorKind::Corrupt, "has no seal");
    // Nor does the seal of another save make it good.
    fixture.sql(
        "INSERT INTO lockkeeper_config_seals
         SELECT max(id), 'litestream', 3, (SELECT seal FROM lockkeeper_config_seals
             ORDER BY sequence DESC LIMIT 1) FROM app_config",
    );
    fixture.refuses(ErrorKind::Corrupt, "does not fit");
}

#[test]
fn every_change_to_a_sealed_save_is_refused() {
    for change in [
        "format = 'toml'",
        "description = 'other'",
        "created_at = '2999-01-01T00:00:00Z'",
        "content = (SELECT content FROM app_config WHERE description = 'one')",
    ] {
        let fixture = Fixture::new();
        fixture.sql(&format!(
            "UPDATE app_config SET {change} WHERE description = 'two'"
        ));
        fixture.refuses(ErrorKind::Corrupt, "does not fit");
    }
}

#[test]
fn a_configuration_that_was_moved_from_another_scope_is_refused() {
    let fixture = Fixture::new();
    fixture.sql(
        "UPDATE app_config SET scope = 'litestream', created_at = '2999-01-01T00:00:00Z'
         WHERE scope = 'application';
         UPDATE lockkeeper_config_seals SET scope = 'litestream', sequence = 3
         WHERE scope = 'application'",
    );
    fixture.refuses(ErrorKind::Corrupt, "does not fit");
}

#[test]
fn an_old_save_that_was_put_back_as_the_newest_is_noticed() {
    let fixture = Fixture::new();
    fixture.sql("DELETE FROM app_config WHERE description = 'two'");
    fixture.sql("DELETE FROM lockkeeper_config_seals WHERE sequence = 2");
    fixture.refuses(ErrorKind::Conflict, "save 2 was there before");
}

#[test]
fn a_machine_that_never_saw_the_database_goes_by_its_seals() {
    let fixture = Fixture::new();
    fixture.forget();
    fixture.sql("DELETE FROM app_config WHERE description = 'two'");
    fixture.refuses(ErrorKind::Conflict, "save 2 was there before");
    let fixture = Fixture::new();
    fixture.forget();
    fixture.insert_unsealed("evil");
    fixture.refuses(ErrorKind::Corrupt, "has no seal");
}

#[test]
fn seals_that_were_all_removed_are_missed() {
    let fixture = Fixture::new();
    fixture.sql("DROP TABLE lockkeeper_config_seals");
    fixture.refuses(ErrorKind::Corrupt, "has no seal");
}

#[test]
fn what_a_tool_without_seals_saved_is_opened_and_can_be_sealed() {
    let fixture = Fixture::new();
    fixture.sql("DROP TABLE lockkeeper_config_seals");
    fixture.forget();
    let entry = fixture.get(0).unwrap();
    assert_eq!(text(&entry), "two");
    assert!(!entry.sealed);
    let resealed = fixture.store().reseal(&fixture.identities, SCOPE).unwrap();
    assert_eq!((resealed.sealed, resealed.unreadable), (2, 0));
    for generation in [0, 1] {
        assert!(fixture.get(generation).unwrap().sealed);
    }
    // From here on, seals are asked for.
    fixture.insert_unsealed("evil");
    fixture.refuses(ErrorKind::Corrupt, "has no seal");
}

#[test]
fn an_earlier_database_is_accepted_by_sealing_it_again() {
    let fixture = Fixture::new();
    fixture.sql("DELETE FROM app_config WHERE description = 'two'");
    fixture.store().reseal(&fixture.identities, SCOPE).unwrap();
    assert_eq!(fixture.newest(), "one");
    // The next save goes on after what was seen.
    fixture.save(&fixture.store(), "three");
    assert_eq!(fixture.newest(), "three");
}

#[test]
fn seals_of_before_a_reseal_are_worth_nothing() {
    let fixture = Fixture::new();
    fixture.sql("CREATE TABLE kept AS SELECT * FROM lockkeeper_config_seals");
    fixture.store().reseal(&fixture.identities, SCOPE).unwrap();
    fixture.sql(
        "DELETE FROM lockkeeper_config_seals WHERE scope = 'litestream';
         INSERT OR REPLACE INTO lockkeeper_config_seals SELECT * FROM kept",
    );
    fixture.refuses(ErrorKind::Conflict, "was there before");
}

#[test]
fn with_a_rotated_key_old_seals_verify_with_the_old_identity() {
    let fixture = Fixture::new();
    let new = key(&fixture.dir, "new");
    let both = fixture.dir.path().join("both");
    let read = |name| std::fs::read_to_string(fixture.dir.path().join(name)).unwrap();
    std::fs::copy(fixture.dir.path().join("key"), &both).unwrap();
    std::fs::write(&both, read("new") + &read("key")).unwrap();
    let both = KeyFile::read(&both, KeyFileCheck::Strict).unwrap();
    let store = fixture.store();
    assert!(store.get(&both, SCOPE, 0).unwrap().sealed);
    store.save(&both, SCOPE, b"three", "yml", "three").unwrap();
    assert_eq!(text(&store.get(&new, SCOPE, 0).unwrap()), "three");
    assert_eq!(text(&store.get(&both, SCOPE, 2).unwrap()), "one");
    let error = store.get(&fixture.identities, SCOPE, 0).unwrap_err();
    assert!(
        error.to_string().contains("none of the identities"),
        "{error}"
    );
    // The new key alone seals what it opens, and leaves the rest.
    let resealed = store.reseal(&new, SCOPE).unwrap();
    assert_eq!((resealed.sealed, resealed.unreadable), (1, 2));
    assert_eq!(text(&store.get(&new, SCOPE, 0).unwrap()), "three");
}

#[test]
fn bytes_that_are_not_text_are_kept_as_they_are() {
    let fixture = Fixture::new();
    let wasm = [&b"\0asm\x0d\0\x01\0"[..], &[0xff; 1 << 20]].concat();
    let store = fixture.store();
    store
        .save(&fixture.identities, "policy", &wasm, "wasm", "a component")
        .unwrap();
    let entry = store.get(&fixture.identities, "policy", 0).unwrap();
    assert_eq!(*entry.plaintext, wasm);
    assert_eq!(entry.format, "wasm");
}
