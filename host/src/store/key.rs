use std::fmt;

use crate::{Error, Result};

/// Longest key: what every object store takes.
const KEY_MAX: usize = 1024;

/// A key that no store can take for a path to somewhere else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Key {
    folder: Vec<String>,
    name: String,
}

impl Key {
    pub(super) fn parse(key: &str) -> Result<Self> {
        let mut folder = parse_folder(key)?;
        let name = folder
            .pop()
            .ok_or_else(|| Error::invalid("the key of an object is empty"))?;
        Ok(Self { folder, name })
    }

    pub(super) fn folder(&self) -> &[String] {
        &self.folder
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.folder, &self.name))
    }
}

/// Splits the name of a folder into its parts; the empty name is the root.
pub(super) fn parse_folder(folder: &str) -> Result<Vec<String>> {
    if folder.is_empty() {
        return Ok(Vec::new());
    }
    let is_safe = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .chars()
                .all(|c| !c.is_control() && !matches!(c, '\\' | ':'))
    };
    if folder.len() > KEY_MAX || !folder.split('/').all(is_safe) {
        return Err(Error::invalid(format!(
            "not a key of an object: {folder:?}"
        )));
    }
    Ok(folder.split('/').map(str::to_owned).collect())
}

/// The key of `name` in `folder`.
pub(super) fn join(folder: &[String], name: &str) -> String {
    let mut key = folder.join("/");
    if !key.is_empty() {
        key.push('/');
    }
    key.push_str(name);
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_leads_out_of_the_root() {
        for bad in [
            "", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\0b", "C:/a", "a\nb",
        ] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Key::parse(&"a".repeat(1025)).is_err());
        let key = Key::parse("ltx/0/x.ltx").unwrap();
        assert_eq!((key.folder().len(), key.name()), (2, "x.ltx"));
        assert_eq!(key.to_string(), "ltx/0/x.ltx");
        assert!(parse_folder("").unwrap().is_empty());
    }
}
