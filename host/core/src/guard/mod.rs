//! What every proposal of a policy is held against before it becomes work.

pub mod proposals;
