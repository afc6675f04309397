//! Paths as configurations and operators write them.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// Makes `text` absolute: `~` is the home directory, anything relative starts at `base`.
///
/// `.` and `..` are resolved by name, so that one place has one spelling.
pub(crate) fn expand(text: &str, base: &Path) -> Result<PathBuf> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => std::env::home_dir()
            .map(|home| home.join(rest.trim_start_matches('/')))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{text:?}: this user has no home directory; write the whole path"
                ))
            })?,
        _ => base.join(text),
    };
    let absolute = std::path::absolute(&path).map_err(|error| {
        Error::invalid(format!("{} is no path", path.display())).with_source(error)
    })?;
    Ok(normalise(&absolute))
}

/// The database that an operator names: as [`expand`], after the `sqlite://` that may stand before
/// it. Relative paths start at the current directory.
pub(crate) fn named(text: &str) -> Result<PathBuf> {
    let path = text
        .strip_prefix("sqlite://")
        .or_else(|| text.strip_prefix("sqlite3://"))
        .unwrap_or(text);
    let here = std::env::current_dir().map_err(|error| {
        Error::unavailable("cannot find the current directory").with_source(error)
    })?;
    expand(path, &here)
}

/// The same place without symbolic links. What does not exist keeps its name. No file is opened.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    let found = path
        .ancestors()
        .find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    match found {
        Some((ancestor, real)) => match path.strip_prefix(ancestor) {
            Ok(rest) if rest != Path::new("") => real.join(rest),
            _ => real,
        },
        None => path.to_owned(),
    }
}

fn normalise(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut all, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                all.pop();
            }
            part => all.push(part),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_spelling() {
        let base = Path::new("/srv/app");
        for (text, expected) in [
            ("app.db", "/srv/app/app.db"),
            ("./data/../app.db", "/srv/app/app.db"),
            ("/var/app.db", "/var/app.db"),
            ("../../../x", "/x"),
            ("a~b", "/srv/app/a~b"),
            ("~b", "/srv/app/~b"),
        ] {
            assert_eq!(expand(text, base).unwrap(), Path::new(expected), "{text}");
        }
    }

    #[test]
    fn a_database_may_be_named_as_a_url() {
        for text in ["/srv/a.db", "sqlite:///srv/a.db", "sqlite3:///srv/./a.db"] {
            assert_eq!(named(text).unwrap(), Path::new("/srv/a.db"), "{text}");
        }
    }

    #[test]
    fn links_are_followed_as_far_as_the_path_exists() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        for (path, expected) in [
            ("link", "real"),
            ("link/new/a.db", "real/new/a.db"),
            ("none/a.db", "none/a.db"),
        ] {
            assert_eq!(resolve(&base.join(path)), base.join(expected), "{path}");
        }
    }
}
