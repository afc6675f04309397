//! What a component may import and must export, compared by name before anything of it runs.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::Version;

/// The package of the contract.
const PACKAGE: &str = "lockkeeper:policy/";
/// What components import of it: names for types, nothing that could be called.
const TYPES: &str = "lockkeeper:policy/types";

/// What a component built with the standard library of its language imports even if it uses none of
/// it. All of it is there and empty.
const EMPTY: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];
const EMPTY_VERSION: &str = "0.2.";

/// How many names a message lists.
const NAMES_MAX: usize = 8;

/// Why a component is not a policy.
#[derive(Debug, thiserror::Error)]
pub(in crate::policy) enum Mismatch {
    #[error("it is built for {name}, and this host runs {}", supported())]
    Version { name: String },
    #[error("it imports {names}, and a policy may import `log` only")]
    Import { names: String },
    #[error(
        "it does not export {names}, as {version} must; this host runs {}",
        supported()
    )]
    Export { names: String, version: Version },
}

/// Compares the names of a component's imports and exports with the contract. Returns the version
/// that it is built for.
pub(in crate::policy) fn check(
    engine: &Engine,
    component: &Component,
) -> Result<Version, Mismatch> {
    let ty = component.component_type();
    let imports: Vec<&str> = ty.imports(engine).map(|(name, _)| name).collect();
    let contract = imports.iter().find(|name| name.starts_with(PACKAGE));
    let named = contract.map(|name| {
        let of_series = |it: &Version| version(name).starts_with(it.series());
        Version::ALL.into_iter().find(of_series).ok_or_else(|| {
            let name = quoted(&[name]);
            Mismatch::Version { name }
        })
    });
    let named = named.transpose()?;
    let refused: Vec<&str> = imports
        .into_iter()
        .filter(|name| !may_import(name))
        .collect();
    if !refused.is_empty() {
        let names = quoted(&refused);
        return Err(Mismatch::Import { names });
    }
    let is_missing = |name: &&str| ty.get_export(engine, name).is_none();
    // Without types of the contract, its first function tells.
    let begins = |it: &Version| it.exports().first().is_some_and(|name| !is_missing(name));
    let found = named.or_else(|| Version::ALL.into_iter().find(begins));
    let version = found.unwrap_or(Version::NEWEST);
    let exports = version.exports().iter().copied();
    let missing: Vec<&str> = exports.filter(is_missing).collect();
    if !missing.is_empty() {
        let names = quoted(&missing);
        return Err(Mismatch::Export { names, version });
    }
    Ok(version)
}

/// The versions of the contract, for people.
fn supported() -> String {
    let numbers = Version::ALL.map(Version::number);
    format!("lockkeeper:policy {}", numbers.join(" and "))
}

fn may_import(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else {
        return name == "log";
    };
    interface == TYPES || EMPTY.contains(&interface) && version.starts_with(EMPTY_VERSION)
}

fn version(name: &str) -> &str {
    name.split_once('@').map_or("", |(_, version)| version)
}

fn quoted(names: &[&str]) -> String {
    let mut text = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(", …");
    }
    text
}
