//! The default policy component, built from `guest/` and embedded.

/// The component that the host runs unless it is given another: it implements the world `policy`
/// of `wit/policy.wit` and imports nothing.
pub const DEFAULT_POLICY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/policy.wasm"));
