//! The application that writes the database; it is not the process that replicates.

use std::path::Path;

use rusqlite::Connection;

use crate::database;

/// Bytes of a row: about as many as a page has.
const ROW_BYTES: u32 = 4000;

/// An application, connected to its database.
#[derive(Debug)]
pub(super) struct App(Connection);

/// What an application sees in a database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct State {
    /// Tells databases apart that took each other's place.
    pub(super) name: String,
    pub(super) rows: u32,
}

impl App {
    /// Makes a database of `rows` rows.
    pub(super) fn create(path: &Path, name: &str, rows: u32) -> Self {
        let connection = database::open(path);
        connection
            .execute_batch(
                "CREATE TABLE name (name TEXT);
                 CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB);",
            )
            .expect("make the tables");
        connection
            .execute("INSERT INTO name VALUES (?1)", [name])
            .expect("name the database");
        connection
            .execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                 INSERT INTO entry (body) SELECT randomblob(?2) FROM n",
                [rows, ROW_BYTES],
            )
            .expect("fill the database");
        Self(connection)
    }

    pub(super) fn open(path: &Path) -> Self {
        Self(database::open(path))
    }

    /// Commits one row.
    pub(super) fn commit(&self) {
        self.0
            .execute("INSERT INTO entry (body) VALUES (randomblob(100))", [])
            .expect("commit");
    }

    pub(super) fn state(&self) -> State {
        State::of(&self.0).expect("the database of the application is sound")
    }
}

impl State {
    /// Opens a database as an application does, and looks at all of it.
    ///
    /// # Errors
    ///
    /// What SQLite says if it is damaged.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let connection = Connection::open(path).map_err(|error| error.to_string())?;
        Self::of(&connection)
    }

    fn of(connection: &Connection) -> Result<Self, String> {
        let read = || {
            let check: String =
                connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            let state = connection.query_row(
                "SELECT name, (SELECT COUNT(body) FROM entry) FROM name",
                [],
                |row| {
                    Ok(Self {
                        name: row.get(0)?,
                        rows: row.get(1)?,
                    })
                },
            )?;
            Ok((check, state))
        };
        match read() {
            Ok((check, state)) if check == "ok" => Ok(state),
            Ok(_) => Err("database disk image is malformed".to_owned()),
            Err(error) => Err(rusqlite::Error::to_string(&error)),
        }
    }
}
