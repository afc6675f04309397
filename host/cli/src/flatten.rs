//! A configuration as `path = value` lines.

use anyhow::{Result, anyhow, bail};
use saphyr::{LoadableYamlNode, Scalar, Yaml};

const MASK: &str = "********";
const SECRET_WORDS: [&str; 7] = [
    "secret",
    "password",
    "passwd",
    "token",
    "key",
    "credential",
    "private",
];

/// The values of a TOML or YAML text; those that look secret are masked unless `reveal`.
pub(crate) fn lines(text: &str, format: &str, reveal: bool) -> Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    // Parser messages quote the line they failed at, which may be a secret.
    match format {
        "toml" => {
            let value = toml::from_str(text).map_err(|_| anyhow!("the TOML does not parse"))?;
            from_toml(String::new(), &value, &mut lines);
        }
        "yml" | "yaml" => {
            let documents =
                Yaml::load_from_str(text).map_err(|_| anyhow!("the YAML does not parse"))?;
            for document in &documents {
                from_yaml(String::new(), document, &mut lines);
            }
        }
        other => bail!("get reads toml and yaml, not '{other}': use dump"),
    }
    if !reveal {
        for (path, value) in &mut lines {
            let path = path.to_lowercase();
            // A URL may carry a user and password before its host.
            let carries_user = value.contains("://") && value.contains('@');
            if carries_user || SECRET_WORDS.iter().any(|word| path.contains(word)) {
                MASK.clone_into(value);
            }
        }
    }
    Ok(lines)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn from_toml(path: String, value: &toml::Value, lines: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                from_toml(join(&path, name), value, lines);
            }
        }
        toml::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                from_toml(format!("{path}[{index}]"), item, lines);
            }
        }
        scalar => lines.push((path, scalar.to_string())),
    }
}

fn from_yaml(path: String, node: &Yaml<'_>, lines: &mut Vec<(String, String)>) {
    match node {
        Yaml::Mapping(map) => {
            for (name, value) in map {
                from_yaml(join(&path, name.as_str().unwrap_or("?")), value, lines);
            }
        }
        Yaml::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                from_yaml(format!("{path}[{index}]"), item, lines);
            }
        }
        Yaml::Tagged(_, inner) => from_yaml(path, inner, lines),
        Yaml::Value(Scalar::Null) => lines.push((path, "null".to_owned())),
        Yaml::Value(Scalar::Boolean(value)) => lines.push((path, value.to_string())),
        Yaml::Value(Scalar::Integer(value)) => lines.push((path, value.to_string())),
        Yaml::Value(Scalar::FloatingPoint(value)) => lines.push((path, value.to_string())),
        Yaml::Value(Scalar::String(value)) => lines.push((path, value.to_string())),
        Yaml::Representation(value, ..) => lines.push((path, value.to_string())),
        Yaml::Alias(_) | Yaml::BadValue => {}
    }
}
