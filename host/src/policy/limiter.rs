//! What one instance may take of the host's memory.

use wasmtime::ResourceLimiter;

/// The memories of an instance together, in bytes.
pub(super) const MEMORY_BYTES_MAX: usize = 32 << 20;
/// The tables of an instance together, in elements: a large component has some thousand functions.
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Core instances: a component built with adapters has about ten.
const INSTANCES_MAX: usize = 50;
const TABLES_MAX: usize = 20;
const MEMORIES_MAX: usize = 4;

/// Counts what one instance takes, and refuses more.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    refused: bool,
}

impl Limiter {
    /// The most memory there was; memories do not shrink.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether more was asked for than is allowed.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }
}

/// Adds the growth from `current` to `desired` unless the sum passes `max`.
fn grow(sum: &mut usize, current: usize, desired: usize, max: usize) -> bool {
    let growth = desired.saturating_sub(current);
    match sum.checked_add(growth) {
        Some(grown) if grown <= max => {
            *sum = grown;
            true
        }
        _ => false,
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What passes the component's own maximum fails without our doing.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let granted = grow(&mut self.memory_bytes, current, desired, MEMORY_BYTES_MAX);
        self.refused |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let granted = grow(
            &mut self.table_elements,
            current,
            desired,
            TABLE_ELEMENTS_MAX,
        );
        self.refused |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
