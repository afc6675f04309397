//! Components for tests, made from a few lines of WebAssembly text.

mod gate;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(crate) use self::gate::Gate;
use super::{Component, Policy, PolicySource};

/// The contract, from which the host and the guest both make their bindings.
pub(super) const POLICY_WIT: &str = include_str!("../../../wit/policy.wit");

/// The little of WASI that tests call, and a world with it.
const WASI_WIT: [&str; 5] = [
    "package wasi:io@0.2.0;
     interface poll { resource pollable { block: func(); } }
     interface error { resource error; }
     interface streams {
         use error.{error};
         variant stream-error { last-operation-failed(error), closed }
         resource output-stream {
             blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
         }
     }",
    "package wasi:clocks@0.2.0;
     interface monotonic-clock {
         use wasi:io/poll@0.2.0.{pollable};
         now: func() -> u64;
         subscribe-duration: func(when: u64) -> pollable;
     }",
    "package wasi:random@0.2.0;
     interface random {
         get-random-bytes: func(len: u64) -> list<u8>;
         get-random-u64: func() -> u64;
     }",
    "package wasi:cli@0.2.0;
     interface exit { exit: func(status: result); }
     interface stderr {
         use wasi:io/streams@0.2.0.{output-stream};
         get-stderr: func() -> output-stream;
     }",
    "package test:guest;
     world guest {
         include lockkeeper:policy/policy@0.2.0;
         import wasi:cli/exit@0.2.0;
         import wasi:cli/stderr@0.2.0;
         import wasi:clocks/monotonic-clock@0.2.0;
         import wasi:random/random@0.2.0;
     }",
];

/// What each export does unless a test says otherwise: `metadata` gives "test" three times,
/// `validate` an error without diagnostics, a restore is approved, and the decisions answer 0,
/// `none`, or nothing.
const DEFAULTS: [(&str, &str, &str); 11] = [
    ("metadata", "(result i32)", "(i32.const 16)"),
    (
        "validate",
        "(param i32 i32 i32 i32) (result i32)",
        "(i32.const 128)",
    ),
    (
        "plan-sync",
        "(param i64 i64 i64 i64 i64 i32 i64 i32 i64 i32 i64 i32 i64 i32) (result i64)",
        "(i64.const 0)",
    ),
    (
        "plan-checkpoint",
        "(param i64 i32 i64 i32 i32 i64 i32 i64 i32 i32 i64 i32) (result i32)",
        "(i32.const 0)",
    ),
    (
        "plan-snapshot",
        "(param i64 i64 i64 i64 i64 i32 i32 i64 i32) (result i32)",
        "(i32.const 256)",
    ),
    (
        "plan-verification",
        "(param i64 i64 i64 i64 i64 i64 i64 i32) (result i32)",
        "(i32.const 256)",
    ),
    (
        "plan-compaction",
        "(param i64 i32 i32 i32 i32) (result i32)",
        "(i32.const 256)",
    ),
    (
        "plan-retention",
        "(param i64 i64 i64 i32 i32) (result i32)",
        "(i32.const 256)",
    ),
    (
        "plan-holds",
        "(param i64 i32 i32 i64 i32 i32) (result i32)",
        "(i32.const 256)",
    ),
    (
        "approve-restore",
        "(param i64 i32 i32 i32 i32 i64 i32 i64 i32 i32 i32 i32 i64) (result i32)",
        "(i32.const 256)",
    ),
    (
        "on-event",
        "(param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)",
        "(i32.const 256)",
    ),
];

/// The names of the functions that a policy exports.
pub(crate) fn exports() -> impl Iterator<Item = &'static str> {
    DEFAULTS.into_iter().map(|(name, ..)| name)
}

/// A core module with the exports of a policy, which is made a component.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guest {
    items: String,
    bodies: Vec<(&'static str, String)>,
    realloc: Option<String>,
}

/// Gives out memory in a row and takes nothing back.
const REALLOC: &str = "(local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at)";

impl Guest {
    /// The body of an export, instead of the default or of what was given before.
    pub(crate) fn export(mut self, name: &'static str, body: &str) -> Self {
        self.bodies.push((name, body.to_owned()));
        self
    }

    /// How memory is given out for arguments and for texts.
    pub(crate) fn realloc(mut self, body: &str) -> Self {
        self.realloc = Some(body.to_owned());
        self
    }

    /// Further imports, data, globals or functions of the module.
    pub(crate) fn item(mut self, text: &str) -> Self {
        self.items.push_str(text);
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let functions: String = DEFAULTS
            .into_iter()
            .map(|(name, ty, default)| {
                let mut given = self.bodies.iter().rev();
                let given = given.find(|(given, _)| *given == name);
                let body = given.map_or(default, |(_, body)| body);
                format!("(func (export \"{name}\") {ty} {body})\n")
            })
            .collect();
        let module = format!(
            r#"(module
                {items}
                (memory (export "memory") 16)
                (global $next (mut i32) (i32.const 65536))
                (data (i32.const 16) "\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00\40\00\00\00\04\00\00\00\00\00\00\00\00\00\00\00")
                (data (i32.const 64) "test")
                (data (i32.const 128) "\01")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                {functions})"#,
            items = self.items,
            realloc = self.realloc.as_deref().unwrap_or(REALLOC),
        );
        component(&module)
    }

    pub(crate) fn load(&self) -> crate::Result<Component> {
        Component::load(&PolicySource::Bytes(self.build()))
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy::new(self.load().unwrap())
    }

    /// The same, beside which others can be tried.
    pub(crate) fn policy_with_observer(&self) -> Policy {
        Policy::start(self.load().unwrap(), None, None).unwrap()
    }
}

fn component(module: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    resolve.push_str("policy.wit", POLICY_WIT).unwrap();
    let mut last = None;
    for text in WASI_WIT {
        last = Some(resolve.push_str("wasi.wit", text).unwrap());
    }
    let world = resolve
        .select_world(&[last.unwrap()], Some("guest"))
        .unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}
