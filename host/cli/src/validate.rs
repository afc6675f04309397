//! What must hold before a configuration is saved.

use anyhow::Result;

/// Checks a replication configuration and returns its warnings.
///
/// This is the hook for the policy component, which knows the rules.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the rules live in the policy component"
)]
pub(crate) fn validate_litestream(_text: &str) -> Result<Vec<String>> {
    Ok(Vec::new())
}
