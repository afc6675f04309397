//! Reads a `litestream.yml`: the rules of the whole.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::plan::{Database, Diagnostic, Plan, Position, Setting, Value};
use crate::replica::{self, Context, defaults, fill};
use crate::report::Report;
use crate::schema::Scope;
use crate::tree::{self, Data, Node};
use crate::walk::{self, Section};
use crate::{database, environment};

const MAX_LEVELS: usize = 8;
/// Global settings are copied into every replica, so a small source could make a large plan.
const MAX_PLAN: usize = 4 << 20;

/// Reads `source` for a host that has `replica_kinds`.
///
/// # Errors
///
/// Every problem found, never just the first.
pub fn validate(source: &str, replica_kinds: &[String]) -> Result<Plan, Vec<Diagnostic>> {
    let mut report = Report::default();
    if source.len() <= tree::MAX_SOURCE {
        environment::check(source, &mut report);
    }
    let root = tree::parse(source, &mut report);
    let mut plan = Plan::default();
    match &root {
        Some(root) => {
            let top = walk::section(root, "", &[Scope::Top, Scope::Replica], &mut report);
            plan.databases = databases(&top, root.at, replica_kinds, &mut report);
            plan.settings = settings(&top, &mut plan.databases, &mut report);
        }
        None if !report.failed() => no_databases(Position { line: 1, column: 1 }, &mut report),
        None => {}
    }
    if report.failed() {
        return Err(report.finish());
    }
    plan.diagnostics = report.finish();
    Ok(plan)
}

fn no_databases(at: Position, report: &mut Report) {
    let help = "add `dbs:` with `- path: app.db` and a `replica:` below it";
    report.error(
        "no-databases",
        "dbs",
        at,
        "there is no database to replicate",
        help,
    );
}

fn databases(
    top: &Section<'_>,
    root: Position,
    kinds: &[String],
    report: &mut Report,
) -> Vec<Database> {
    let list = database_list(top, root, report);
    let context = Context {
        globals: top,
        kinds,
    };
    let (mut places, mut replicas) = (BTreeMap::new(), BTreeMap::new());
    let mut read = Vec::new();
    let mut size = 0;
    for (index, node) in list.iter().enumerate() {
        let path = format!("dbs[{index}]");
        let Some(database) = database::read(node, &path, &context, report) else {
            continue;
        };
        size += weight(&database.settings) + weight(&database.replica.settings);
        if size > MAX_PLAN {
            let message = "with all defaults filled in, the configuration is too large";
            report.error(
                "too-complex",
                &path,
                node.at,
                message,
                "use `dir` for many databases",
            );
            break;
        }
        if let Some(place) = database::identity(&database)
            && let Some(first) = places.insert(place, index)
        {
            let message = format!("this is the same database as `dbs[{first}]`");
            let help = "keep one of them; a database has one replica";
            report.error("duplicate-database", &path, node.at, message, help);
        }
        if let Some(first) = replicas.insert(replica::identity(&database.replica), index) {
            let message = format!("this replica is in the same place as that of `dbs[{first}]`");
            let help = "give each database a place of its own; they would overwrite each other";
            let path = format!("{path}.replica");
            report.error("duplicate-replica", &path, node.at, message, help);
        }
        check_snapshots(&read, &database, index, node.at, report);
        read.push(database);
    }
    read
}

/// The values below `dbs`; none if it is missing or no list.
fn database_list<'a>(top: &Section<'a>, root: Position, report: &mut Report) -> &'a [Node] {
    let Some(block) = top.blocks.iter().find(|it| it.key.name == "dbs") else {
        no_databases(root, report);
        return &[];
    };
    match &block.entry.value.data {
        Data::List(list) if !list.is_empty() => return list,
        Data::Map(_) => {
            let help = "start each database with `- `";
            let at = block.entry.value.at;
            let message = "`dbs` takes a list, not a set of keys";
            report.error("wrong-type", "dbs", at, message, help);
        }
        _ => no_databases(block.entry.at, report),
    }
    &[]
}

fn weight(settings: &[Setting]) -> usize {
    let text = |setting: &Setting| match &setting.value {
        Value::Text(text) | Value::Secret(text) => text.len(),
        _ => 8,
    };
    settings
        .iter()
        .map(|setting| 32 + setting.name.len() + text(setting))
        .sum()
}

const SNAPSHOT: [&str; 2] = ["snapshot.interval", "snapshot.retention"];

/// Litestream lifts these to the top, so they hold for all or cannot hold at all.
fn check_snapshots(
    before: &[Database],
    database: &Database,
    index: usize,
    at: Position,
    report: &mut Report,
) {
    for name in SNAPSHOT {
        let Some(mine) = database::get(&database.settings, name) else {
            continue;
        };
        let other = before
            .iter()
            .find_map(|it| database::get(&it.settings, name));
        if other.is_some_and(|other| other != mine) {
            let path = format!("dbs[{index}].{name}");
            let message = format!("`{name}` contradicts that of a database before it");
            let help = format!("set `{name}` once, at the top");
            report.error("conflicting-snapshot", &path, at, message, help);
        }
    }
}

fn settings(top: &Section<'_>, databases: &mut [Database], report: &mut Report) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut levels = None;
    for found in top.found.iter().filter(|it| it.key.scope == Scope::Top) {
        match (found.name.as_str(), &found.value) {
            ("levels", Value::Number(count)) => levels = Some((*count, found.at)),
            (name, value) => fill(&mut settings, name, || value.clone()),
        }
    }
    check_levels(levels, &mut settings, report);
    heartbeat(top, &mut settings, report);
    for name in SNAPSHOT {
        if let Some(value) = databases
            .iter()
            .find_map(|it| database::get(&it.settings, name))
        {
            fill(&mut settings, name, || value.clone());
        }
    }
    defaults(Scope::Top, "", &mut settings);
    for database in databases {
        for name in SNAPSHOT {
            if let Some(value) = database::get(&settings, name) {
                fill(&mut database.settings, name, || value.clone());
            }
        }
    }
    settings
}

fn check_levels(given: Option<(u64, Position)>, settings: &mut Vec<Setting>, report: &mut Report) {
    let Some((count, at)) = given else {
        for (index, ms) in [30_000, 300_000, 3_600_000].into_iter().enumerate() {
            fill(settings, &format!("levels.{index}.interval"), || {
                Value::Duration(ms)
            });
        }
        return;
    };
    if count > MAX_LEVELS as u64 {
        let message = format!("there are {count} compaction levels");
        let help = format!("keep at most {MAX_LEVELS}");
        report.error("out-of-range", "levels", at, message, help);
    }
    if report.failed() {
        // An interval that was refused is missing here, and was reported as what it is.
        return;
    }
    for index in 0..count {
        if database::get(settings, &format!("levels.{index}.interval")).is_none() {
            let path = format!("levels[{index}].interval");
            let message = "this compaction level has no interval";
            report.error(
                "missing-key",
                &path,
                at,
                message,
                "add for example `interval: 5m`",
            );
        }
    }
}

fn heartbeat(top: &Section<'_>, settings: &mut Vec<Setting>, report: &mut Report) {
    let Some(found) = top.get("heartbeat-url") else {
        return;
    };
    let url = top.text("heartbeat-url").unwrap_or_default();
    if url.is_empty() {
        return;
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let message = "this is not an HTTP address";
        let help = "start it with `https://` or `http://`";
        report.error("invalid-url", "heartbeat-url", found.at, message, help);
    }
    fill(settings, "heartbeat-interval", || Value::Duration(300_000));
}
