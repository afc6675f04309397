//! The promises of the embedded component that the host's sandbox relies on.

use lockkeeper_component::DEFAULT_POLICY;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload};

/// A compiled component costs start-up time in proportion to its size.
const MAX_BYTES: usize = 300 * 1024;

#[test]
fn it_stays_small() {
    assert!(
        DEFAULT_POLICY.len() <= MAX_BYTES,
        "{} bytes",
        DEFAULT_POLICY.len()
    );
}

#[test]
fn it_imports_only_types() -> Result<(), wasmparser::BinaryReaderError> {
    let mut depth = 0;
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(DEFAULT_POLICY) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import?;
                    // Types stand for nothing that could be called.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        imports.push(import.name.name);
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Func {
                        exports.push(export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(imports, ["lockkeeper:policy/types@0.2.0"]);
    exports.sort_unstable();
    assert_eq!(
        exports,
        [
            "approve-restore",
            "metadata",
            "on-event",
            "plan-checkpoint",
            "plan-compaction",
            "plan-holds",
            "plan-retention",
            "plan-snapshot",
            "plan-sync",
            "plan-verification",
            "validate"
        ]
    );
    Ok(())
}
