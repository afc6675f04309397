//! The contract with a component: the world of `wit/policy.wit`, and what a component may import.

use wasmtime::Engine;
use wasmtime::component::Component;

#[allow(
    unreachable_pub,
    reason = "the macro writes items for use outside the crate"
)]
mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "policy" });
}

pub(super) use bindings::lockkeeper::policy::types;
pub(super) use bindings::{Policy as Exports, PolicyImports, PolicyPre};

/// The world that components implement, as messages name it.
pub(super) const WORLD: &str = "the world `policy` of lockkeeper:policy@0.1.0";

/// The package of the contract, and the versions that components may be built against, up to the
/// last number.
const PACKAGE: &str = "lockkeeper:policy/";
const PACKAGE_VERSION: &str = "0.1.";
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

/// The functions a policy must export.
const EXPORTS: [&str; 8] = [
    "describe",
    "validate",
    "plan-sync",
    "plan-checkpoint",
    "plan-snapshot",
    "plan-verification",
    "plan-compaction",
    "plan-retention",
];

/// How many names a message lists.
const NAMES_MAX: usize = 8;

/// Why a component is not a policy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("it is built for {name}, and this host runs {WORLD}")]
    Version { name: String },
    #[error("it imports {names}, and a policy may import `log` only")]
    Import { names: String },
    #[error("it does not export {names}, as {WORLD} must")]
    Export { names: String },
}

/// Compares the names of a component's imports and exports with the contract.
pub(super) fn check(engine: &Engine, component: &Component) -> Result<(), Mismatch> {
    let ty = component.component_type();
    let imports: Vec<&str> = ty.imports(engine).map(|(name, _)| name).collect();
    let other_version =
        |name: &&&str| name.starts_with(PACKAGE) && !version(name).starts_with(PACKAGE_VERSION);
    if let Some(name) = imports.iter().find(other_version) {
        let name = quoted(&[name]);
        return Err(Mismatch::Version { name });
    }
    let refused: Vec<&str> = imports
        .into_iter()
        .filter(|name| !may_import(name))
        .collect();
    if !refused.is_empty() {
        let names = quoted(&refused);
        return Err(Mismatch::Import { names });
    }
    let is_missing = |name: &&str| ty.get_export(engine, name).is_none();
    let missing: Vec<&str> = EXPORTS.into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let names = quoted(&missing);
        return Err(Mismatch::Export { names });
    }
    Ok(())
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
