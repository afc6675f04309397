//! The seals of the saves of one database.

use rusqlite::{OptionalExtension, params};

use super::blob;
use super::keys::Identities;
use super::schema::SEALS_NAME;
use super::seal::Sealed;
use super::store::{ConfigStore, Row, or_application};
use crate::{Error, Result};

/// What [`ConfigStore::reseal`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Resealed {
    /// Saves that have a seal now.
    pub sealed: usize,
    /// Saves that none of the identities opens; they have none.
    pub unreadable: usize,
}

impl ConfigStore {
    /// Seals every save of `scope` that one of `identities` opens, as they are and in their order:
    /// whoever calls this vouches for them.
    ///
    /// # Errors
    ///
    /// `Invalid` if the scope has no configuration, or none of it can be opened; then nothing is
    /// changed. `Unavailable` if the database cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # use lockkeeper::config::{KeyFile, KeyFileCheck};
    /// # let path = folder.path().join("key.txt");
    /// # KeyFile::generate().write(&path)?;
    /// # let identities = KeyFile::read(&path, KeyFileCheck::Strict)?;
    /// # let path = folder.path().join("app.db");
    /// # let store = lockkeeper::config::ConfigStore::create(path, &identities)?;
    /// let resealed = store.reseal(&identities, "application")?;
    /// assert_eq!((resealed.sealed, resealed.unreadable), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reseal(&self, identities: &Identities, scope: &str) -> Result<Resealed> {
        let scope = or_application(scope);
        let transaction = self.begin()?;
        let rows: Vec<i64> = self.rows(
            "SELECT id FROM app_config WHERE scope = ?1 ORDER BY created_at, id",
            [scope],
            |row| row.get(0),
        )?;
        // Above what was ever seen, so that no earlier seal is worth anything again.
        let mut sequence = self.next_sequence(scope)?;
        transaction
            .execute(
                "DELETE FROM lockkeeper_config_seals WHERE scope = ?1",
                [scope],
            )
            .map_err(|e| self.sqlite(e))?;
        let mut done = Resealed {
            sealed: 0,
            unreadable: 0,
        };
        let mut newest = sequence;
        for id in rows {
            let row = self.row_by_id(id)?;
            if blob::decrypt(identities, &row.content).is_err() {
                done.unreadable += 1;
                continue;
            }
            self.put_seal(identities, scope, &row, sequence)?;
            newest = sequence;
            sequence = after(sequence)?;
            done.sealed += 1;
        }
        if done.sealed == 0 {
            return Err(Error::invalid(format!(
                "{} holds no configuration of scope '{scope}' that an identity in {} opens",
                self.path.display(),
                identities.path().display()
            )));
        }
        transaction.commit().map_err(|e| self.sqlite(e))?;
        self.seen.note(scope, newest);
        Ok(done)
    }

    /// Verifies the seal of a save; returns whether it has one.
    ///
    /// Once one save of a scope has a seal, one without is refused: else it would be enough to
    /// leave the seal out.
    pub(super) fn check_seal(
        &self,
        identities: &Identities,
        scope: &str,
        row: &Row,
        generation: u32,
    ) -> Result<bool> {
        let seen = self.seen.newest(scope)?;
        let newest = seen.max(self.newest_sequence(scope)?);
        let Some((sequence, seal)) = self.seal_of(row.id)? else {
            return match newest {
                Some(_) => Err(self.refused(scope, "has no seal, which others of its scope have")),
                None => Ok(false),
            };
        };
        let sealed = sealed(scope, row, sequence);
        let mut fits = false;
        for key in identities.seal_keys() {
            fits |= key?.verifies(&sealed, &seal)?;
        }
        if !fits {
            return Err(self.refused(scope, "has a seal that does not fit it"));
        }
        if generation > 0 {
            return Ok(true);
        }
        if newest > Some(sequence) {
            return Err(Error::conflict(format!(
                "the newest configuration of scope '{scope}' in {0} is save {sequence}, but save {1} \
                 was there before: if the database was put back to an earlier time on purpose, \
                 look at it with `lockkeeper -dbpath {0} config list {scope}`, then accept it with \
                 `lockkeeper -dbpath {0} config reseal -scope {scope}`",
                self.path.display(),
                newest.unwrap_or_default()
            )));
        }
        self.seen.note(scope, sequence);
        Ok(true)
    }

    fn refused(&self, scope: &str, why: &str) -> Error {
        Error::corrupt(format!(
            "the configuration of scope '{scope}' in {0} {why}: somebody without the key wrote or \
             moved it, or a tool that makes no seals. Look at `lockkeeper -dbpath {0} config list \
             {scope}`; save it again, or, if you know who wrote it, accept what is there with \
             `lockkeeper -dbpath {0} config reseal -scope {scope}`",
            self.path.display()
        ))
    }

    /// The number of the next save of `scope`.
    pub(super) fn next_sequence(&self, scope: &str) -> Result<i64> {
        let newest = self.seen.newest(scope)?.max(self.newest_sequence(scope)?);
        newest.map_or(Ok(1), after)
    }

    /// Writes the seal of a save.
    pub(super) fn put_seal(
        &self,
        identities: &Identities,
        scope: &str,
        row: &Row,
        sequence: i64,
    ) -> Result<()> {
        let key = identities.seal_keys().next();
        let key = key.ok_or_else(|| Error::internal("a key file without identities"))??;
        let seal = key.seal(&sealed(scope, row, sequence))?;
        self.connection
            .execute(
                "INSERT OR REPLACE INTO lockkeeper_config_seals (config_id, scope, sequence, seal)
                 VALUES (?1, ?2, ?3, ?4)",
                params![row.id, scope, sequence, seal],
            )
            .map_err(|e| self.sqlite(e))?;
        Ok(())
    }

    /// The newest number in the database; it counts also if the save itself is gone.
    fn newest_sequence(&self, scope: &str) -> Result<Option<i64>> {
        if !self.has_table(SEALS_NAME)? {
            return Ok(None);
        }
        self.connection
            .query_row(
                "SELECT max(sequence) FROM lockkeeper_config_seals WHERE scope = ?1",
                [scope],
                |row| row.get(0),
            )
            .map_err(|e| self.sqlite(e))
    }

    fn seal_of(&self, id: i64) -> Result<Option<(i64, Vec<u8>)>> {
        if !self.has_table(SEALS_NAME)? {
            return Ok(None);
        }
        self.connection
            .query_row(
                "SELECT sequence, seal FROM lockkeeper_config_seals WHERE config_id = ?1",
                [id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|e| self.sqlite(e))
    }
}

fn sealed<'a>(scope: &'a str, row: &'a Row, sequence: i64) -> Sealed<'a> {
    Sealed {
        scope,
        sequence,
        format: &row.format,
        description: &row.description,
        created_at: &row.created_at,
        content: &row.content,
    }
}

fn after(sequence: i64) -> Result<i64> {
    sequence.checked_add(1).ok_or_else(|| {
        Error::corrupt(
            "the numbers of saves have been tampered with: delete the rows of \
             lockkeeper_config_seals, and reseal",
        )
    })
}
