//! The embedded component in the sandbox.

use super::super::*;

fn embedded() -> Component {
    Component::load(&PolicySource::Embedded).unwrap()
}

#[test]
fn it_says_who_it_is_and_imports_types_only() {
    let policy = embedded();
    assert_eq!(policy.name(), "lockkeeper-policy");
    assert_eq!(policy.imports(), ["lockkeeper:policy/types@0.1.0"]);
    assert_eq!(policy.size(), lockkeeper_component::DEFAULT_POLICY.len());
    assert_eq!(policy.digest().len(), 64);
    assert_eq!(policy.exports().len(), 5, "{:?}", policy.exports());
}

#[test]
fn a_valid_configuration_gives_a_plan() {
    let text = "dbs:\n  - path: app.db\n    replica:\n      type: file\n      path: /backup\n";
    let found = embedded().validate(text, &["file"]).unwrap();
    assert!(found.is_valid(), "{:?}", found.diagnostics());
    let plan = found.into_plan().unwrap();
    assert_eq!(plan.databases.len(), 1);
    assert_eq!(plan.databases[0].replica.kind, "file");
}
