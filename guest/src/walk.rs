//! Holds a tree against the table of keys.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::plan::{Position, Severity, Value};
use crate::report::{Report, quote, short, suggest};
use crate::scalar;
use crate::schema::{Default, Handling, KEYS, Key, Kind, Scope};
use crate::tree::{Data, Entry, Node};

/// What one block of the configuration sets.
#[derive(Default)]
pub(crate) struct Section<'a> {
    pub(crate) found: Vec<Found>,
    /// The values of keys of [`Kind::Block`], for the caller to go into.
    pub(crate) blocks: Vec<Block<'a>>,
}

pub(crate) struct Found {
    pub(crate) key: &'static Key,
    /// As in a plan: `levels.0.interval`.
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) at: Position,
    /// Below this path, which a message about it names.
    pub(crate) path: String,
}

pub(crate) struct Block<'a> {
    pub(crate) key: &'static Key,
    pub(crate) entry: &'a Entry,
    pub(crate) path: String,
}

impl Section<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.name == name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name).map(|found| &found.value) {
            Some(Value::Text(text) | Value::Secret(text)) => Some(text),
            _ => None,
        }
    }
}

/// Where the walk is: in the table, in a plan and in the document.
struct Place {
    lookup: String,
    name: String,
    path: String,
}

impl Place {
    fn below(&self, key: &str) -> Self {
        let join = |parent: &str, key: &str| match parent {
            "" => String::from(key),
            _ => format!("{parent}.{key}"),
        };
        Self {
            lookup: join(&self.lookup, key),
            name: join(&self.name, key),
            path: join(&self.path, key),
        }
    }

    fn element(&self, index: usize) -> Self {
        Self {
            lookup: format!("{}[]", self.lookup),
            name: format!("{}.{index}", self.name),
            path: format!("{}[{index}]", self.path),
        }
    }
}

/// Reads `node`, which stands at `path`, as a block whose keys are those of `scopes`.
pub(crate) fn section<'a>(
    node: &'a Node,
    path: &str,
    scopes: &[Scope],
    report: &mut Report,
) -> Section<'a> {
    let mut section = Section::default();
    let place = Place {
        lookup: String::new(),
        name: String::new(),
        path: path.into(),
    };
    Walk {
        scopes,
        report,
        section: &mut section,
    }
    .map(node, &place);
    section
}

struct Walk<'w, 'a> {
    scopes: &'w [Scope],
    report: &'w mut Report,
    section: &'w mut Section<'a>,
}

impl<'a> Walk<'_, 'a> {
    fn map(&mut self, node: &'a Node, place: &Place) {
        let Data::Map(entries) = &node.data else {
            let message = format!("there should be keys here, not {}", node.what());
            let example = keys(self.scopes, &place.lookup).next().unwrap_or("key");
            let help = format!("write keys below it, such as `{example}:`");
            self.report
                .error("wrong-type", &place.path, node.at, message, help);
            return;
        };
        let mut seen: BTreeMap<&str, Position> = BTreeMap::new();
        for entry in entries {
            let below = place.below(&entry.key);
            if let Some(first) = seen.insert(&entry.key, entry.at) {
                let path = format!("{}{}", parent(&place.path), short(&entry.key));
                let message = format!(
                    "{} is given twice, first in line {}",
                    quote(&entry.key),
                    first.line
                );
                self.report.error(
                    "duplicate-key",
                    &path,
                    entry.at,
                    message,
                    "keep one of them",
                );
                continue;
            }
            self.entry(entry, place, &below);
        }
    }

    fn entry(&mut self, entry: &'a Entry, place: &Place, below: &Place) {
        let mut candidates = KEYS.iter().filter(|key| key.is_in(self.scopes));
        if let Some(key) = candidates.clone().find(|key| key.name == below.lookup) {
            return self.known(key, entry, below);
        }
        let continues = |key: &Key, mark: &str| {
            let rest = key.name.strip_prefix(below.lookup.as_str());
            rest.is_some_and(|rest| rest.starts_with(mark))
        };
        if candidates.clone().any(|key| continues(key, ".")) {
            if !entry.value.is_null() {
                self.map(&entry.value, below);
            }
        } else if candidates.any(|key| continues(key, "[].")) {
            self.list(&entry.value, below);
        } else {
            self.unknown(entry, place);
        }
    }

    fn list(&mut self, node: &'a Node, place: &Place) {
        match &node.data {
            Data::List(elements) => {
                // Known even where the list is empty, which is not the same as absent.
                if let Some(key) = KEYS
                    .iter()
                    .find(|key| key.name == format!("{}[].interval", place.lookup))
                {
                    self.keep(key, place, Value::Number(elements.len() as u64), node.at);
                }
                for (index, element) in elements.iter().enumerate() {
                    self.map(element, &place.element(index));
                }
            }
            _ if node.is_null() => {}
            _ => {
                let message = format!("there should be a list here, not {}", node.what());
                let help = "start each element with `- `";
                self.report
                    .error("wrong-type", &place.path, node.at, message, help);
            }
        }
    }

    fn known(&mut self, key: &'static Key, entry: &'a Entry, below: &Place) {
        if entry.value.is_null() && key.kind != Kind::Block {
            return;
        }
        match key.handling {
            Handling::Ignored(instead) => {
                let code = if key.scope == Scope::Top {
                    "not-supported-embedded"
                } else {
                    "ignored-key"
                };
                self.report
                    .add(Severity::Warning, code, &below.path, Some(entry.at), || {
                        let why = if key.scope == Scope::Top {
                            "is not supported in an embedded replicator"
                        } else {
                            "does nothing"
                        };
                        (
                            format!("`{}` {why}", key.name),
                            Some(format!("use instead: {instead}")),
                        )
                    });
            }
            Handling::Refused(instead) => {
                if !matches!(&entry.value.data, Data::List(list) if list.is_empty()) {
                    let message = format!("`{}` is not supported", key.name);
                    self.report
                        .error("not-supported", &below.path, entry.at, message, instead);
                }
                return;
            }
            Handling::Honoured | Handling::Translated(_) => {}
        }
        if key.kind == Kind::Block {
            self.section.blocks.push(Block {
                key,
                entry,
                path: below.path.clone(),
            });
            return;
        }
        match &entry.value.data {
            Data::Scalar { text, plain } if key.kind != Kind::Texts => {
                match scalar::parse(key.kind, text, *plain) {
                    Ok(value) if !matches!(key.handling, Handling::Ignored(_)) => {
                        self.keep(key, below, value, entry.value.at);
                    }
                    Ok(_) => {}
                    Err((code, message, help)) => {
                        self.report
                            .error(code, &below.path, entry.value.at, message, help);
                    }
                }
            }
            Data::List(list) if key.kind == Kind::Texts => {
                for (index, element) in list.iter().enumerate() {
                    let place = below.element(index);
                    match &element.data {
                        Data::Scalar { text, .. } => {
                            self.keep(key, &place, Value::Text(text.clone()), element.at);
                        }
                        _ => self.misshapen(key, element, &place),
                    }
                }
            }
            _ => self.misshapen(key, &entry.value, below),
        }
    }

    fn misshapen(&mut self, key: &Key, node: &Node, place: &Place) {
        let message = format!(
            "there is {} where `{}` takes another form",
            node.what(),
            key.name
        );
        let help = match (key.kind, key.default) {
            (Kind::Texts, _) => "write a list of texts".into(),
            (_, Default::Is(default)) => format!("write a value, such as `{default}`"),
            _ => "write a single value".into(),
        };
        self.report
            .error("wrong-type", &place.path, node.at, message, help);
    }

    fn keep(&mut self, key: &'static Key, place: &Place, value: Value, at: Position) {
        let (name, path) = (place.name.clone(), place.path.clone());
        self.section.found.push(Found {
            key,
            name,
            value,
            at,
            path,
        });
    }

    fn unknown(&mut self, entry: &Entry, place: &Place) {
        let path = format!("{}{}", parent(&place.path), short(&entry.key));
        let scopes = self.scopes;
        self.report.add(
            Severity::Error,
            "unknown-key",
            &path,
            Some(entry.at),
            || {
                let near = suggest(&entry.key, keys(scopes, &place.lookup));
                let elsewhere = KEYS.iter().find(|key| key.name == entry.key);
                let help = match (near, elsewhere) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, Some(key)) if key.is_in(&[Scope::Top]) => {
                        "this key belongs to the top level".into()
                    }
                    (None, Some(key)) if key.is_in(&[Scope::Database]) => {
                        "this key belongs to an element of `dbs`".into()
                    }
                    (None, Some(_)) => "this key belongs to `replica`".into(),
                    (None, None) => {
                        "remove it, or see the list of keys in the documentation".into()
                    }
                };
                (
                    format!("there is no key {} here", quote(&entry.key)),
                    Some(help),
                )
            },
        );
    }
}

/// The names that may stand directly below `lookup`.
fn keys(scopes: &[Scope], lookup: &str) -> impl Iterator<Item = &'static str> {
    let prefix = if lookup.is_empty() {
        String::new()
    } else {
        format!("{lookup}.")
    };
    KEYS.iter()
        .filter(move |key| key.is_in(scopes))
        .filter_map(move |key| {
            let rest = key.name.strip_prefix(prefix.as_str())?;
            rest.split(['.', '[']).next()
        })
}

fn parent(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}.")
    }
}
