//! The rules of one element of `dbs`.

use alloc::format;
use alloc::string::String;

use crate::location;
use crate::plan::{Database, Replica, Setting, Severity, Value};
use crate::replica::{self, Context, defaults, fill};
use crate::report::Report;
use crate::schema::Scope;
use crate::tree::{Data, Node};
use crate::walk::{self, Block, Found, Section};

/// Reads the database at `node`. `None` after an error that leaves nothing to go on with.
pub(crate) fn read(
    node: &Node,
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Database> {
    let own = walk::section(node, path, &[Scope::Database], report);
    if !matches!(node.data, Data::Map(_)) {
        return None;
    }
    place(&own, node, path, report);
    let replica = the_replica(&own, node, path, context, report);
    let mut database = Database {
        path: own.text("path").map(|text| strip(text).into()),
        dir: own.text("dir").map(|text| strip(text).into()),
        replica: replica?,
        ..Database::default()
    };
    for found in &own.found {
        match (found.name.as_str(), &found.value) {
            ("path" | "dir", _) => {}
            // 0 is the default here, and only a negative number turns it off; the plan has 0 for
            // off.
            ("truncate-page-n", Value::Number(0)) if !is_negative(node) => {}
            ("truncate-page-n", Value::Number(0)) => {
                fill(&mut database.settings, &found.name, || Value::Number(0));
            }
            (name, Value::Text(text)) if name.starts_with("meta-") => {
                fill(&mut database.settings, name, || {
                    Value::Text(strip(text).into())
                });
            }
            (name, value) => fill(&mut database.settings, name, || value.clone()),
        }
    }
    if database.dir.is_some() {
        fill(&mut database.settings, "pattern", || {
            Value::Text("*".into())
        });
        fill(&mut database.settings, "recursive", || Value::Flag(false));
        fill(&mut database.settings, "watch", || Value::Flag(false));
    }
    defaults(Scope::Database, "", &mut database.settings);
    Some(database)
}

/// Whether `truncate-page-n` has a sign, which the value no longer has.
fn is_negative(database: &Node) -> bool {
    let Data::Map(entries) = &database.data else {
        return false;
    };
    entries
        .iter()
        .filter(|entry| entry.key == "truncate-page-n")
        .any(
            |entry| matches!(&entry.value.data, Data::Scalar { text, .. } if text.starts_with('-')),
        )
}

fn strip(path: &str) -> &str {
    ["sqlite://", "sqlite3://"]
        .iter()
        .find_map(|scheme| path.strip_prefix(scheme))
        .unwrap_or(path)
}

fn place(own: &Section<'_>, node: &Node, path: &str, report: &mut Report) {
    place_text(own, report);
    match (own.get("path"), own.get("dir")) {
        (Some(_), Some(dir)) => {
            let message = "`path` and `dir` are both given";
            let help = "keep `path` for one database, `dir` for a directory of them";
            report.error("conflicting-keys", &dir.path, dir.at, message, help);
        }
        (None, None) => {
            let help = "add `path:` for one database, or `dir:` for a directory of them";
            report.error(
                "missing-key",
                path,
                node.at,
                "this database has no `path`",
                help,
            );
        }
        (Some(_), None) => only_one_database(own, report),
        (None, Some(dir)) => only_a_directory(own, dir, report),
    }
    if let (Some(_), Some(found)) = (own.get("meta-path"), own.get("meta-dir")) {
        let message = "`meta-path` and `meta-dir` are both given";
        report.error(
            "conflicting-keys",
            &found.path,
            found.at,
            message,
            "keep one of them",
        );
    }
}

fn place_text(own: &Section<'_>, report: &mut Report) {
    for name in ["path", "dir"] {
        if let Some(found) = own.get(name)
            && let Some(text) = own.text(name).map(strip)
        {
            if let Some(scheme) = location::scheme(text) {
                let message = format!("a database cannot be at a URL such as `{scheme}://…`");
                let help = "write the path of the file; URLs go to `replica`";
                report.error("path-is-url", &found.path, found.at, message, help);
            } else if text.is_empty() {
                let message = format!("`{name}` is empty");
                report.error(
                    "missing-key",
                    &found.path,
                    found.at,
                    message,
                    "write a path",
                );
            }
        }
    }
}

fn only_one_database(own: &Section<'_>, report: &mut Report) {
    for name in ["pattern", "recursive", "watch", "meta-dir"] {
        if let Some(found) = own.get(name) {
            let message = format!("`{name}` is only for `dir`");
            let help = "remove it, or use `dir` instead of `path`";
            report.error("conflicting-keys", &found.path, found.at, message, help);
        }
    }
}

fn only_a_directory(own: &Section<'_>, dir: &Found, report: &mut Report) {
    if let Some(found) = own.get("restore-if-db-not-exists") {
        let message = "`restore-if-db-not-exists` is only for `path`";
        let help = "remove it, or name each database with `path`";
        report.error("conflicting-keys", &found.path, found.at, message, help);
    }
    if own.get("pattern").is_none() {
        report.add(
            Severity::Note,
            "default-pattern",
            &dir.path,
            Some(dir.at),
            || {
                let help = "add for example `pattern: \"*.db\"`".into();
                (
                    "every SQLite database in the directory is replicated".into(),
                    Some(help),
                )
            },
        );
    }
}

fn the_replica(
    own: &Section<'_>,
    node: &Node,
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Replica> {
    let block = |name| {
        own.blocks
            .iter()
            .find(|block: &&Block<'_>| block.key.name == name)
    };
    let given = |name| block(name).filter(|block| !block.entry.value.is_null());
    match (given("replica"), given("replicas")) {
        (Some(_), Some(list)) => {
            let message = "`replica` and `replicas` are both given";
            let help = "keep `replica`; a database has one";
            report.error("conflicting-keys", &list.path, list.entry.at, message, help);
            None
        }
        (Some(one), None) => replica::read(&one.entry.value, &one.path, context, report),
        (None, Some(list)) => from_list(list, context, report),
        (None, None) => {
            let help = "add `replica:` with `path:` or `url:` below it";
            report.error(
                "missing-replica",
                path,
                node.at,
                "this database has no replica",
                help,
            );
            None
        }
    }
}

fn from_list(block: &Block<'_>, context: &Context<'_>, report: &mut Report) -> Option<Replica> {
    let at = block.entry.at;
    let Data::List(list) = &block.entry.value.data else {
        let message = format!("`replicas` takes a list, not {}", block.entry.value.what());
        report.error(
            "wrong-type",
            &block.path,
            at,
            message,
            "write `replica:` instead",
        );
        return None;
    };
    match list.as_slice() {
        [one] => {
            report.add(
                Severity::Note,
                "deprecated-key",
                &block.path,
                Some(at),
                || {
                    let help = "write `replica:` with the same keys, without the `-`".into();
                    (
                        "`replicas` with one element is read as `replica`".into(),
                        Some(help),
                    )
                },
            );
            replica::read(one, &format!("{}[0]", block.path), context, report)
        }
        [] => {
            let help = "write `replica:` with `path:` or `url:` below it";
            report.error(
                "missing-replica",
                &block.path,
                at,
                "this database has no replica",
                help,
            );
            None
        }
        [_, second, ..] => {
            let message = format!("a database has one replica, not {}", list.len());
            let help = "keep one; copy it elsewhere with the tools of the storage";
            report.error("too-many-replicas", &block.path, second.at, message, help);
            None
        }
    }
}

/// The setting `name` of a database, if it was given.
pub(crate) fn get<'a>(settings: &'a [Setting], name: &str) -> Option<&'a Value> {
    settings
        .iter()
        .find(|setting| setting.name == name)
        .map(|setting| &setting.value)
}

/// How two databases are recognised as one.
pub(crate) fn identity(database: &Database) -> Option<String> {
    match (&database.path, &database.dir) {
        (Some(path), _) => Some(location::normal(path)),
        (None, Some(dir)) => {
            let pattern = get(&database.settings, "pattern");
            Some(format!("{}\0{pattern:?}", location::normal(dir)))
        }
        (None, None) => None,
    }
}
