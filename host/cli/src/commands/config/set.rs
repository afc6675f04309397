//! Changing one value of a TOML configuration; everything else stays as it was written.

use anyhow::{Context, Result, anyhow, bail};
use toml_edit::{DocumentMut, Item, Value};
use zeroize::Zeroizing;

use super::open;
use crate::args::Globals;

pub(super) fn set(
    globals: &Globals,
    scope: &str,
    desc: Option<String>,
    path: &str,
    value: &str,
) -> Result<()> {
    let entry = open(globals, scope, 0)?;
    if entry.format != "toml" {
        bail!(
            "set changes toml, not '{}': dump it, edit it, and save it again",
            entry.format
        );
    }
    let text =
        std::str::from_utf8(&entry.plaintext).context("the configuration is not text: use dump")?;
    let value = match value.strip_prefix('@') {
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = Zeroizing::new(text.with_context(|| format!("cannot read {file}"))?);
            Value::from(text.as_str())
        }
        None => value.parse().unwrap_or_else(|_| Value::from(value)),
    };
    let changed = Zeroizing::new(with_value(text, path, value)?);
    let desc = desc.unwrap_or_else(|| format!("Updated field '{path}'"));
    let store = globals.store()?;
    store.save(
        &globals.identities()?,
        scope,
        changed.as_bytes(),
        &entry.format,
        &desc,
    )?;
    eprintln!("Set '{path}' in scope '{scope}'");
    Ok(())
}

fn with_value(text: &str, path: &str, mut value: Value) -> Result<String> {
    // What the parser says quotes the text, which may hold a secret.
    let mut document: DocumentMut = text
        .parse()
        .map_err(|_| anyhow!("the TOML does not parse"))?;
    let unknown = || anyhow!("there is no value '{path}': `paths` lists what there is");
    let mut item = document.as_item_mut();
    for name in path.split('.') {
        let (name, indices) = indices(name).ok_or_else(unknown)?;
        // What is not there is made, as nothing.
        let found = item.get_mut(name).filter(|found| !found.is_none());
        item = found.ok_or_else(unknown)?;
        for index in indices {
            item = item.get_mut(index).ok_or_else(unknown)?;
        }
    }
    let Item::Value(old) = item else {
        bail!("'{path}' is a table: name one of its values");
    };
    // Keeps the comment behind it.
    *value.decor_mut() = old.decor().clone();
    *old = value;
    Ok(document.to_string())
}

/// Takes `name[1][2]` apart.
fn indices(part: &str) -> Option<(&str, Vec<usize>)> {
    let Some((name, rest)) = part.split_once('[') else {
        return Some((part, Vec::new()));
    };
    let inner = rest.strip_suffix(']')?;
    let indices: Result<Vec<usize>, _> = inner.split("][").map(str::parse).collect();
    Some((name, indices.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# kept\n[server]\naddr = \":8080\" # where\nports = [80, 443]\n";

    #[track_caller]
    fn check(path: &str, value: &str, from: &str, to: &str) {
        let value = value.parse().unwrap_or_else(|_| Value::from(value));
        let changed = with_value(TEXT, path, value).expect("a path that is there");
        assert_eq!(changed, TEXT.replace(from, to));
    }

    #[test]
    fn one_value_changes_and_everything_else_stays() {
        check("server.addr", ":80", "\":8080\"", "\":80\"");
        check("server.addr", "'x'", "\":8080\"", "'x'");
        check("server.ports[1]", "8443", "443", "8443");
        check("server.ports", "[1]", "[80, 443]", "[1]");
    }

    #[test]
    fn a_path_that_is_not_there_is_refused() {
        for path in [
            "",
            "server",
            "addr",
            "server.x",
            "server.ports[2]",
            "server.ports[x]",
            "[",
        ] {
            assert!(with_value(TEXT, path, Value::from(1)).is_err(), "{path}");
        }
    }
}
