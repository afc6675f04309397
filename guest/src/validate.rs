//! Reads a `litestream.yml`.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::plan::{Diagnostic, Plan, Severity};

/// Reads `source` for a host that has `replica_kinds`.
///
/// # Errors
///
/// Every problem found, never just the first.
pub fn validate(source: &str, _replica_kinds: &[String]) -> Result<Plan, Vec<Diagnostic>> {
    if source.trim().is_empty() {
        return Err(vec![Diagnostic {
            severity: Severity::Error,
            code: "no-databases",
            path: String::new(),
            position: None,
            message: "the configuration is empty".into(),
            help: None,
        }]);
    }
    Ok(Plan::default())
}
