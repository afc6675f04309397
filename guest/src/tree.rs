//! YAML as a tree with positions, read within a budget.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use crate::plan::Position;
use crate::report::{Report, short};

/// Larger than any configuration written by hand.
pub(crate) const MAX_SOURCE: usize = 1 << 20;
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 30_000;

/// A value and where it starts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

#[derive(Debug)]
pub(crate) enum Data {
    /// `plain` is text without quotes, which may mean something other than text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

impl Node {
    /// Whether the key stands there without a value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What this is, for a message.
    pub(crate) fn what(&self) -> &'static str {
        match &self.data {
            Data::Scalar { .. } if self.is_null() => "nothing",
            Data::Scalar { .. } => "a single value",
            Data::List(_) => "a list",
            Data::Map(_) => "a set of keys",
        }
    }
}

struct Fault(&'static str, Position, String, &'static str);

/// Reads the one document of `source`. `None` for an empty one, and after an error.
pub(crate) fn parse(source: &str, report: &mut Report) -> Option<Node> {
    if source.len() > MAX_SOURCE {
        report.error(
            "too-large",
            "",
            Position { line: 1, column: 1 },
            format!(
                "the configuration has {} bytes; at most 1 MiB is read",
                source.len()
            ),
            "split it, or use `dir` for many databases",
        );
        return None;
    }
    match build(source) {
        Ok(node) => node,
        Err(Fault(code, at, message, help)) => {
            report.error(code, "", at, message, help);
            None
        }
    }
}

/// A list or map that is not finished; `key` waits for its value.
struct Open {
    node: Node,
    key: Option<(String, Position)>,
}

impl Open {
    fn new(at: Position, data: Data) -> Self {
        Self {
            node: Node { at, data },
            key: None,
        }
    }
}

fn build(source: &str) -> Result<Option<Node>, Fault> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut nodes = 0;
    // Without recursion and event by event, so that reading stops where the budget ends.
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| not_yaml(&error))?;
        let at = position(&span.start);
        nodes += 1;
        if nodes > MAX_NODES {
            let message = format!("the configuration has more than {MAX_NODES} values");
            let help = "use `dir` for many databases";
            return Err(Fault("too-complex", at, message, help));
        }
        let node = match event {
            Event::Scalar(text, style, anchor, tag) => {
                plain_node(anchor, tag.is_some(), at)?;
                let plain = style == ScalarStyle::Plain;
                let text = text.replace("$$", "$");
                Node {
                    at,
                    data: Data::Scalar { text, plain },
                }
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                if open.len() >= MAX_DEPTH || anchor > 0 || tag.is_some() =>
            {
                plain_node(anchor, tag.is_some(), at)?;
                let message = format!("values are nested more than {MAX_DEPTH} deep");
                let help = "no key needs more than 4 levels";
                return Err(Fault("too-deep", at, message, help));
            }
            Event::SequenceStart(..) => {
                open.push(Open::new(at, Data::List(Vec::new())));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::new(at, Data::Map(Vec::new())));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(done) => done.node,
                None => continue,
            },
            Event::Alias(_) => return Err(alias(at)),
            Event::DocumentStart(_) if root.is_some() => {
                let message = "a second document starts here".into();
                let help = "keep one document; remove the `---`";
                return Err(Fault("syntax", at, message, help));
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(parent) => attach(parent, node)?,
            None => root = Some(node),
        }
    }
    Ok(root.filter(|node| !node.is_null()))
}

fn not_yaml(error: &ScanError) -> Fault {
    let at = position(error.marker());
    // The parser reads ahead of its events, and has a limit of its own.
    if error.info().contains("recursion limit") {
        return too_deep(at);
    }
    let message = format!("this is not valid YAML: {}", short(error.info()));
    Fault(
        "syntax",
        at,
        message,
        "check indentation, quotes and colons here and just above",
    )
}

fn too_deep(at: Position) -> Fault {
    let message = format!("values are nested more than {MAX_DEPTH} deep");
    Fault("too-deep", at, message, "no key needs more than 4 levels")
}

fn attach(parent: &mut Open, node: Node) -> Result<(), Fault> {
    match (&mut parent.node.data, parent.key.take()) {
        (Data::List(list), _) => list.push(node),
        (Data::Map(map), Some((key, at))) => map.push(Entry {
            key,
            at,
            value: node,
        }),
        _ => match node.data {
            Data::Scalar { text, .. } => parent.key = Some((text, node.at)),
            _ => {
                let message = format!("a key must be text, not {}", node.what());
                return Err(Fault("syntax", node.at, message, "write `key: value`"));
            }
        },
    }
    Ok(())
}

fn plain_node(anchor: usize, tag: bool, at: Position) -> Result<(), Fault> {
    if anchor > 0 {
        return Err(alias(at));
    }
    if tag {
        let message = "YAML tags are not read".into();
        return Err(Fault(
            "unsupported-yaml",
            at,
            message,
            "remove the `!…`; quote text instead",
        ));
    }
    Ok(())
}

/// Refused, because a few lines of aliases can stand for gigabytes.
fn alias(at: Position) -> Fault {
    let help = "write the value out, or set it at the top as a default for all replicas";
    Fault(
        "unsupported-yaml",
        at,
        "YAML anchors and aliases are not read".into(),
        help,
    )
}

fn position(mark: &Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(mark.line()),
        column: number(mark.col()).saturating_add(1),
    }
}
