//! The sandbox from inside the crate: what hostile components can do, and what decides then.

mod embedded;
