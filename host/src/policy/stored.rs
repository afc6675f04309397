//! Components in the configuration store: encrypted, with generations, as a configuration is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::component::Component;
use super::selftest::self_test;
use super::source::PolicySource;
use crate::config::{ConfigStore, Identities};
use crate::{Error, ErrorKind, Result};

/// The scope of policy components.
pub const POLICY_SCOPE: &str = "policy";
/// What a component is called there instead of a file name's ending.
pub const POLICY_FORMAT: &str = "wasm";
/// How far back a start looks for a generation that works.
const GENERATIONS_MAX: u32 = 8;

/// The components of one configuration store.
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
/// use lockkeeper::config::ConfigStore;
/// use lockkeeper::policy::{PolicySource, StoredPolicies};
///
/// let database = folder.path().join("app.db");
/// ConfigStore::create(&database, &identities)?;
/// let stored = StoredPolicies::new(&database, identities);
/// stored.save(&PolicySource::Embedded, "the first")?;
/// stored.save(&PolicySource::Embedded, "the second")?;
/// stored.roll_back(1)?;
/// assert!(stored.get(2)?.is_some() && stored.get(3)?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoredPolicies {
    database: PathBuf,
    identities: Arc<Identities>,
}

/// How often it was saved, and when last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Saves {
    count: usize,
    newest: Option<String>,
}

impl Saves {
    /// Whether the last one was made before this time, in milliseconds since the Unix epoch. The
    /// store knows the second.
    pub(super) fn all_before(&self, ms: i64) -> bool {
        let newest = self.newest.as_ref().map(|at| at.parse::<Timestamp>());
        match newest {
            Some(Ok(newest)) => newest.as_second() < ms.div_euclid(1000),
            // It can be tried.
            Some(Err(_)) => false,
            None => true,
        }
    }
}

impl StoredPolicies {
    /// Those in `database`, which `identities` open.
    pub fn new(database: impl AsRef<Path>, identities: Identities) -> Self {
        Self {
            database: database.as_ref().to_owned(),
            identities: Arc::new(identities),
        }
    }

    /// Saves a component as the newest generation, if it answers the questions of [`self_test`].
    ///
    /// # Errors
    ///
    /// `Invalid` if it is no policy or too large for the store; else as [`ConfigStore::save`].
    pub fn save(&self, source: &PolicySource, description: &str) -> Result<Component> {
        let component = Component::load(source)?;
        self_test(&component)?;
        let store = ConfigStore::open(&self.database)?;
        let bytes = source.read()?;
        store.save(
            &self.identities,
            POLICY_SCOPE,
            &bytes,
            POLICY_FORMAT,
            description,
        )?;
        Ok(component)
    }

    /// Makes an older generation the newest.
    ///
    /// # Errors
    ///
    /// As [`ConfigStore::rollback`].
    pub fn roll_back(&self, generation: u32) -> Result<()> {
        let store = ConfigStore::open(&self.database)?;
        store.rollback(&self.identities, POLICY_SCOPE, generation)
    }

    /// One generation, 0 being the newest; `None` if there are not so many.
    ///
    /// # Errors
    ///
    /// `Invalid` or `Corrupt` if it is there and cannot be opened.
    pub fn get(&self, generation: u32) -> Result<Option<PolicySource>> {
        let store = ConfigStore::open(&self.database)?;
        let saved = store.history(Some(POLICY_SCOPE))?;
        if !saved.iter().any(|row| row.generation == generation) {
            return Ok(None);
        }
        let entry = store.get(&self.identities, POLICY_SCOPE, generation)?;
        if entry.format != POLICY_FORMAT {
            return Err(Error::invalid(format!(
                "generation {generation} of scope '{POLICY_SCOPE}' in {} is '{}', not \
                 '{POLICY_FORMAT}'",
                self.database.display(),
                entry.format
            )));
        }
        // A configuration without a seal is read with a warning; code is not run.
        if !entry.sealed {
            return Err(Error::invalid(format!(
                "generation {generation} of scope '{POLICY_SCOPE}' in {} has no seal: whoever \
                 writes to the database may have put it there",
                self.database.display()
            )));
        }
        Ok(Some(PolicySource::Bytes(entry.plaintext.to_vec())))
    }

    /// Another value after each save.
    pub(super) fn saves(&self) -> Result<Saves> {
        let saved = ConfigStore::open(&self.database)?.history(Some(POLICY_SCOPE))?;
        Ok(Saves {
            count: saved.len(),
            newest: saved.into_iter().next().map(|row| row.created_at),
        })
    }

    /// The newest component that works, for a start; with the reason why a newer one was left out.
    /// Without any, `None`: the embedded one decides.
    pub(crate) fn last_good(&self) -> (Option<Component>, Option<String>) {
        let mut refused = None;
        for generation in 0..GENERATIONS_MAX {
            match self.load(generation) {
                Ok(None) => break,
                Ok(Some(component)) => return (Some(component), refused),
                // A store that does not answer holds nothing older either.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    refused.get_or_insert_with(|| error.to_string());
                    break;
                }
                Err(error) => {
                    refused.get_or_insert_with(|| {
                        format!("generation {generation} of the stored policies: {error}")
                    });
                }
            }
        }
        (None, refused)
    }

    fn load(&self, generation: u32) -> Result<Option<Component>> {
        let Some(source) = self.get(generation)? else {
            return Ok(None);
        };
        let component = Component::load(&source)?;
        self_test(&component)?;
        Ok(Some(component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_in_the_second_of_a_switch_may_be_the_later_of_them() {
        let saved = |newest: Option<&str>| Saves {
            count: 1,
            newest: newest.map(str::to_owned),
        };
        let newest = saved(Some("1970-01-01T00:00:07Z"));
        assert!(newest.all_before(8_000));
        assert!(!newest.all_before(7_999));
        assert!(!newest.all_before(6_000));
        assert!(saved(None).all_before(0));
        assert!(!saved(Some("yesterday")).all_before(8_000));
    }
}
