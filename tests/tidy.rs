//! The conventions that a machine can check.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a file without its tests: what can be read in one sitting.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function: one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a comment, which `rustfmt` does not wrap.
const COMMENT_COLUMNS_MAX: usize = 100;

/// Which packages of the workspace each of them may use. One that is not listed is an example: it
/// embeds the library, as an application does, and may use other examples.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("lockkeeper-ltx", &[]),
    ("lockkeeper-core", &["lockkeeper-ltx"]),
    ("lockkeeper-component", &[]),
    (
        "lockkeeper",
        &["lockkeeper-component", "lockkeeper-core", "lockkeeper-ltx"],
    ),
    ("lockkeeper-cli", &["lockkeeper"]),
    ("lockkeeper-policy", &[]),
    (
        "lockkeeper-tests",
        &["lockkeeper", "lockkeeper-core", "lockkeeper-ltx"],
    ),
    ("lockkeeper-bench", &["lockkeeper-ltx"]),
];

/// What those who come from the seed are promised. Each item has a test whose name begins with it:
/// A of spellings, B of the quickstart, C of restores, D of configurations, E of logs, F of SQLite,
/// G of kinds of replica.
const CHECKLIST: [&str; 35] = [
    "a1", "a2", "a3", "a4", "b0", "b0b", "b1", "b1b", "b1c", "b2", "b3", "b3b", "b3c", "b3d", "c1",
    "c2", "c3", "c4", "c5", "c6", "d1", "d2", "d3", "d4", "d5", "e1", "e2", "e3", "f1", "f2", "f3",
    "g_file", "g_s3", "g_gs", "g_abs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every Rust file of the repository, by its path from the root.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.insert(path.strip_prefix(root()).unwrap().to_owned(), text);
            }
        }
    }
    assert!(sources.len() > 50, "{} files", sources.len());
    sources
}

/// The lines before the tests of a file.
fn without_tests(text: &str) -> usize {
    text.lines()
        .take_while(|line| *line != "mod tests {")
        .count()
}

/// The functions of a file as `rustfmt` lays them out: line of the beginning, and lines.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        if !is_function(line) || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let last = lines.iter().skip(first + 1).position(|end| {
            indent(end) == indent(line) && (end.trim() == "}" || end.ends_with(';'))
        });
        let lines = last.unwrap() + 2;
        functions.push((first + 1, lines));
    }
    functions
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_modifier =
        |word: &str| word.starts_with("pub") || ["const", "async", "unsafe"].contains(&word);
    words.find(|word| !is_modifier(word)) == Some("fn")
}

/// The names of the tests in a file.
fn tests(text: &str) -> Vec<&str> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line);
        if let Some(name) = function.strip_prefix("fn ")
            && is_test
        {
            names.extend(name.split('(').next());
        }
        is_test = false;
    }
    names
}

fn may_use(name: &str, used: &str) -> bool {
    let listed = |name| MAY_USE.iter().find(|(listed, _)| *listed == name);
    match listed(name) {
        Some((_, allowed)) => allowed.contains(&used),
        None => used == "lockkeeper" || listed(used).is_none(),
    }
}

#[track_caller]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long = |(path, text): (&PathBuf, &String)| {
        let lines = without_tests(text);
        let is_test = path.ends_with("tests.rs");
        (lines > FILE_LINES_MAX && !is_test).then(|| format!("{}: {lines} lines", path.display()))
    };
    assert_none(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn functions_fit_on_a_screen() {
    let mut long = Vec::new();
    let mut count = 0;
    for (path, text) in sources() {
        for (line, lines) in functions(&text) {
            count += 1;
            if lines > FUNCTION_LINES_MAX {
                long.push(format!("{}:{line}: {lines} lines", path.display()));
            }
        }
    }
    assert!(count > 300, "{count} functions were seen");
    assert_none(&long);
}

#[test]
fn the_length_of_a_function_is_counted_from_its_first_line_to_its_last() {
    let text = "\
trait T {
    fn declared(
        &self,
    ) -> u8;
    pub(crate) async fn three() {
        fn one() {}
    }
}
fn four(
    x: u8,
) {
}
";
    assert_eq!(functions(text), [(2, 3), (5, 3), (9, 4)]);
}

#[test]
fn every_item_of_the_checklist_has_a_test_of_its_name() {
    let sources = sources();
    let names: Vec<&str> = sources.values().flat_map(|text| tests(text)).collect();
    assert!(names.len() > 500, "{} tests were seen", names.len());
    let is_missing = |item: &str| {
        let begin = format!("{item}_");
        !names.iter().any(|name| name.starts_with(&begin))
    };
    let missing: Vec<String> = CHECKLIST
        .iter()
        .filter(|item| is_missing(item))
        .map(|item| format!("no test has a name that begins with `{item}_`"))
        .collect();
    assert_none(&missing);
}

#[test]
fn b2_the_readme_has_the_commands_that_build_the_application_and_the_component() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for command in [
        "cargo build --release -p myapp",
        "cargo rustc --profile guest --target wasm32-wasip2 -p lockkeeper-policy --lib \
         --crate-type cdylib",
    ] {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
    let metadata = metadata();
    let target = |package: &str, kind: &str| {
        let all = metadata["packages"].as_array().unwrap();
        let package = all.iter().find(|it| it["name"] == package).unwrap();
        let targets = package["targets"].as_array().unwrap();
        let found = targets.iter().find(|target| target["kind"][0] == kind);
        found.unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(target("myapp", "bin"), "myapp");
    assert_eq!(target("lockkeeper-policy", "lib"), "lockkeeper_policy");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("[profile.guest]"));
}

#[test]
fn f3_there_is_one_sqlite_library_in_a_process() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let found: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = "))
        .filter(|name| name.contains("sqlite") && name.contains("sys"))
        .collect();
    assert_eq!(found, ["\"libsqlite3-sys\""]);
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn comments_are_as_narrow_as_code() {
    let mut wide = Vec::new();
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let columns = line.chars().count();
            if line.trim_start().starts_with("//") && columns > COMMENT_COLUMNS_MAX {
                wide.push(format!("{}:{number}: {columns} columns", path.display()));
            }
        }
    }
    assert_none(&wide);
}

/// What cargo says of the workspace.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let is_for_tests = dependency["kind"] == "dev" && used == "lockkeeper-tests";
            if !dependency["path"].is_null() && !is_for_tests && !may_use(name, used) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for (listed, _) in MAY_USE {
        assert!(names.contains(&listed), "{listed} is no package: {names:?}");
    }
    assert_none(&wrong);
}

/// Where the links of a page lead that begin in this repository.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let listed = Command::new("git")
        .args(["ls-files", "--", "*.md"])
        .current_dir(root())
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut broken = Vec::new();
    let mut count = 0;
    for page in listed.lines().map(|name| root().join(name)) {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            count += 1;
            if !page.with_file_name(target).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(count > 50, "{count} links were seen");
    assert_none(&broken);
}

/// The crates that others call, by the folders of their sources.
const LIBRARIES: [&str; 3] = ["host/ltx/src", "host/core/src", "host/src"];

/// The code of the examples in the documentation of a file, and its public functions.
fn examples_and_functions(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut examples, mut functions) = (Vec::new(), Vec::new());
    let mut is_example = false;
    for line in text.lines().take_while(|line| *line != "mod tests {") {
        let line = line.trim_start();
        let comment = line.strip_prefix("///");
        match comment.or_else(|| line.strip_prefix("//!")) {
            Some(fence) if fence.trim_start().starts_with("```") => is_example = !is_example,
            Some(code) if is_example => examples.push(code),
            Some(_) => {}
            None => functions.extend(public_function(line)),
        }
    }
    (examples, functions)
}

/// The name of the public function that begins on this line.
fn public_function(line: &str) -> Option<&str> {
    let (before, rest) = line.strip_prefix("pub ")?.split_once("fn ")?;
    let mut words = before.split_whitespace();
    let is_function = words.all(|word| ["const", "async", "unsafe"].contains(&word));
    rest.split(['(', '<']).next().filter(|_| is_function)
}

#[test]
fn every_public_function_is_called_in_an_example_of_its_crate() {
    let sources = sources();
    let mut missing = Vec::new();
    let mut count = 0;
    for library in LIBRARIES {
        let files = sources.iter().filter(|(path, _)| path.starts_with(library));
        let files = files.map(|(path, text)| (path, examples_and_functions(text)));
        let files: Vec<_> = files.collect();
        let examples = files.iter().flat_map(|(_, (examples, _))| examples);
        let is_part_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let called: BTreeSet<&str> = examples
            .flat_map(|line| line.split(|c| !is_part_of_name(c)))
            .collect();
        for (path, (_, functions)) in &files {
            count += functions.len();
            let functions = functions.iter().filter(|name| !called.contains(*name));
            missing.extend(functions.map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(count > 200, "{count} functions were seen");
    assert_none(&missing);
}
