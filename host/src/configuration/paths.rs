//! Paths as a configuration writes them.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// Makes `text` absolute: `~` is the home directory, anything relative starts at `base`.
///
/// `.` and `..` are resolved by name, so that one place has one spelling.
pub(super) fn expand(text: &str, base: &Path) -> Result<PathBuf> {
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
}
