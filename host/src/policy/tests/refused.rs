//! Files that are no policy: each is refused, and the message says why.

use std::path::PathBuf;

use super::super::contract::Version;
use super::super::sandbox::Sandbox;
use super::super::testing::{Guest, POLICY_WIT};
use super::super::*;
use crate::ErrorKind;

#[track_caller]
fn check(bytes: Vec<u8>, because: &str) {
    let error = Component::load(&PolicySource::Bytes(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = error.to_string();
    assert!(error.contains(because), "{because:?} is not in {error}");
}

#[track_caller]
fn check_text(component: &str, because: &str) {
    check(wat::parse_str(component).unwrap(), because);
}

#[test]
fn what_is_not_webassembly_is_refused() {
    for bytes in [&b""[..], b"hello", b"\0asm", b"(component)", &[0; 4096]] {
        check(bytes.to_vec(), "it is not WebAssembly in binary form");
    }
}

#[test]
fn a_core_module_is_refused_with_a_hint() {
    check_text("(module)", "it is a core module; build it as a component");
}

#[test]
fn compiled_code_is_refused() {
    let engine = &Sandbox::get().unwrap().engine;
    let compiled = engine.precompile_component(&Guest::default().build());
    check(compiled.unwrap(), "it is compiled for a processor");
}

#[test]
fn a_truncated_component_is_refused() {
    let bytes = Guest::default().build();
    for length in (8..bytes.len()).step_by(97) {
        check(bytes[..length].to_vec(), "cannot be used");
    }
    check(bytes[..bytes.len() - 1].to_vec(), "cannot be used");
}

#[test]
fn a_damaged_component_is_refused_or_works_but_never_panics() {
    let bytes = Guest::default().build();
    for at in (0..bytes.len()).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        if let Ok(policy) = Component::load(&PolicySource::Bytes(damaged)) {
            let policy = Policy::new(policy);
            assert!(policy.plan_sync(&super::sync_facts()) <= 1000);
        }
    }
}

#[test]
fn imports_beyond_the_contract_are_refused_by_name() {
    for name in [
        "wasi:filesystem/types@0.2.0",
        "wasi:filesystem/preopens@0.2.6",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:io/streams@0.3.0",
        "wasi:io/streams",
        "acme:tools/shell@1.0.0",
        "lockkeeper:policy/other@0.1.0",
    ] {
        let component = format!("(component (import \"{name}\" (instance)))");
        check_text(&component, &format!("it imports `{name}`"));
    }
    check_text(
        "(component (import \"getenv\" (func)))",
        "it imports `getenv`",
    );
}

#[test]
fn a_component_of_another_version_is_refused_with_the_versions_this_host_runs() {
    let component = "(component (import \"lockkeeper:policy/types@0.9.0\" (instance)))";
    check_text(component, "built for `lockkeeper:policy/types@0.9.0`");
    check_text(
        component,
        "this host runs lockkeeper:policy 0.1.0 and 0.2.0",
    );
}

#[test]
fn messages_name_the_version_of_the_contract() {
    let package = |line: &'static str| line.strip_prefix("package ")?.strip_suffix(';');
    let package = POLICY_WIT.lines().find_map(package).unwrap();
    let newest = Version::NEWEST.to_string();
    assert_eq!(newest, format!("the world `policy` of {package}"));
}

#[test]
fn missing_exports_are_named() {
    check_text("(component)", "it does not export `metadata`, `validate`");
    check_text("(component)", "lockkeeper:policy@0.2.0 must");
    let old = "(component (import \"lockkeeper:policy/types@0.1.0\" (instance)))";
    check_text(old, "it does not export `describe`, `validate`");
    check_text(old, "lockkeeper:policy@0.1.0 must");
    check_text(old, "this host runs lockkeeper:policy 0.1.0 and 0.2.0");
}

#[test]
fn an_export_of_another_type_is_named() {
    let names = super::super::testing::exports();
    let exports: String = names
        .map(|name| format!("(export \"{name}\" (func $f))"))
        .collect();
    let component = format!(
        "(component
            (core module $m (func (export \"f\")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            {exports})"
    );
    check_text(&component, "`approve-restore`");
    check_text(&component, "it does not match the world `policy`");
}

#[test]
fn a_log_import_of_another_type_is_refused() {
    let component = "(component (import \"log\" (func (param \"message\" string))))";
    check_text(component, "it does not export");
    let bytes = Guest::default()
        .item(r#"(import "$root" "log" (func $log (param i32 i32 i32)))"#)
        .build();
    assert!(Component::load(&PolicySource::Bytes(bytes)).is_ok());
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    check(vec![0; COMPONENT_BYTES_MAX + 1], "is larger than 16 MiB");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.wasm");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = Component::load(&PolicySource::File(path)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("huge.wasm is larger than 16 MiB")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let source = PolicySource::File(PathBuf::from("/nowhere/policy.wasm"));
    let error = Component::load(&source).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("/nowhere/policy.wasm"),
        "{error}"
    );
}

#[test]
fn a_component_from_a_file_is_the_one_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.wasm");
    std::fs::write(&path, Guest::default().build()).unwrap();
    let policy = Component::load(&PolicySource::File(path)).unwrap();
    assert_eq!((policy.name(), policy.version()), ("test", "test"));
}

#[test]
fn the_bytes_of_a_component_are_not_printed() {
    let source = PolicySource::Bytes(vec![7; 100]);
    assert_eq!(format!("{source:?}"), "Bytes(100 bytes)");
}
