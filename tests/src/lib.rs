//! What the whole-system tests share.
//!
//! - [`changes`]: what an application writes, and what a database holds of it.
//! - [`database`]: an application's database, and its exact bytes while it is in use.
//! - [`oracle`]: a workload that shows every lost write.
//! - [`process`]: other processes, which never outlive the test that started them.
//! - [`kernel`]: the locks that the kernel holds for this process.
//! - [`replica`]: what is in a replica, and what lockkeeper restores from it.
//! - [`litestream`]: the official binary.
//! - [`subject`]: an application in a process of its own, which does what it is told.
//! - [`compared`]: what both programs do where a replica can silently go wrong.
//! - [`servers`]: real servers of object stores; [`fake_gcs`]: one that only acts as if.
//! - [`tools`]: where such programs are.
//!
//! Everything here fails by panicking, as a test does.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod changes;
pub mod compared;
pub mod database;
pub mod fake_gcs;
pub mod kernel;
pub mod litestream;
pub mod oracle;
pub mod process;
pub mod replica;
pub mod servers;
pub mod subject;
pub mod tools;
