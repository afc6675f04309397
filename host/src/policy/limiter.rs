//! What one instance may take of the host's memory.

use wasmtime::ResourceLimiter;

/// The memories of an instance together, in bytes.
pub(super) const MEMORY_BYTES_MAX: usize = 32 << 20;
/// The tables of an instance together, in elements: a large component has some thousand functions.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Core instances: a component built with adapters has about ten.
pub(super) const INSTANCES_MAX: u32 = 50;
pub(super) const TABLES_MAX: u32 = 20;
pub(super) const MEMORIES_MAX: u32 = 4;

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

/// What the runtime is about to grow.
struct Growth {
    current: usize,
    desired: usize,
    /// What the component itself declared, or its place in the pool has.
    maximum: Option<usize>,
}

impl Growth {
    /// Adds the growth to `sum` unless that passes `max`. Returns whether it may happen.
    fn grant(&self, sum: &mut usize, max: usize, refused: &mut bool) -> bool {
        let grown = sum.saturating_add(self.desired.saturating_sub(self.current));
        if grown > max {
            *refused = true;
            return false;
        }
        if self.maximum.is_some_and(|maximum| self.desired > maximum) {
            return false;
        }
        *sum = grown;
        true
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = Growth {
            current,
            desired,
            maximum,
        };
        Ok(growth.grant(&mut self.memory_bytes, MEMORY_BYTES_MAX, &mut self.refused))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = Growth {
            current,
            desired,
            maximum,
        };
        Ok(growth.grant(
            &mut self.table_elements,
            TABLE_ELEMENTS_MAX,
            &mut self.refused,
        ))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
