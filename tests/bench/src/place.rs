//! Where one program works once: a folder that is removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A folder with databases and their replicas.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let parent = std::path::absolute(parent)?;
        let dir = tempfile::Builder::new()
            .prefix("lockkeeper-bench-")
            .tempdir_in(&parent)
            .with_context(|| parent.display().to_string())?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The database number `n`.
    pub(crate) fn database(&self, n: usize) -> PathBuf {
        self.path(&format!("{n}.db"))
    }

    /// The replica of the database number `n`.
    pub(crate) fn replica(&self, n: usize) -> PathBuf {
        self.path(&format!("{n}.replica"))
    }

    /// Writes the `litestream.yml` of the first `count` databases; every setting is the default of
    /// both programs.
    pub(crate) fn config(&self, count: usize) -> Result<PathBuf> {
        let mut text = "logging:\n  level: error\ndbs:\n".to_owned();
        for n in 0..count {
            let (database, replica) = (self.database(n), self.replica(n));
            text.push_str(&format!(
                "  - path: {}\n    replica:\n      type: file\n      path: {}\n",
                database.display(),
                replica.display()
            ));
        }
        let path = self.path("litestream.yml");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// How many files level 0 of a replica has.
    pub(crate) fn objects(&self, n: usize) -> usize {
        let files = fs::read_dir(self.replica(n).join("ltx/0"));
        files.map_or(0, |files| {
            files
                .flatten()
                .filter(|file| file.path().extension().is_some_and(|end| end == "ltx"))
                .count()
        })
    }
}
