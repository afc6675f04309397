use lockkeeper_core::inventory::ReplicaFile;

use super::v3;
use crate::store::Replica;
use crate::{Error, Result};

/// Refuses a time outside of what LTX files cover, from the oldest file to the newest, both
/// included.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if the time is outside, or there is no file.
pub fn check_timestamp_bounds(files: &[ReplicaFile], time_ms: i64) -> Result<()> {
    check(files.iter().map(|file| file.created_ms), time_ms)
}

/// Refuses a time outside of what a replica covers, in whatever format, from its oldest file to
/// its newest.
///
/// Litestream 0.3 left times with fractions of a millisecond, which a listing rounds up; so the
/// last millisecond that its files cover is the one before the newest time.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] if the time is outside, or there is no file;
/// [`crate::ErrorKind::Unavailable`] if the replica cannot be listed.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let app = rusqlite::Connection::open(folder.path().join("app.db"))?;
/// # app.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE guests (name)")?;
/// # let builder = lockkeeper::Lockkeeper::builder()
/// #     .config("dbs:\n  - path: app.db\n    replica: {path: backup}\n")
/// #     .base_dir(folder.path());
/// # let keeper = builder.clone().start().await?;
/// # keeper.sync().await?;
/// # keeper.stop(std::time::Duration::from_secs(15)).await?;
/// use lockkeeper::restore::{check_timestamp, check_timestamp_bounds};
/// use lockkeeper::store::Replica;
///
/// let replica = Replica::file(folder.path().join("backup"))?;
/// let files = replica.list_sealed().await?;
/// let sealed_ms = files[0].created_ms;
/// check_timestamp(&replica, sealed_ms).await?;
/// assert!(check_timestamp_bounds(&files, 0).is_err()); // 1970 is before everything
/// # Ok(())
/// # }
/// ```
pub async fn check_timestamp(replica: &Replica, time_ms: i64) -> Result<()> {
    let files = replica.list_sealed().await?;
    let generations = v3::list(replica.store().as_ref()).await?;
    let oldest = generations.times_ms().min();
    let newest = generations
        .times_ms()
        .max()
        .map(|newest| newest.saturating_sub(1));
    let ltx = files.iter().map(|file| file.created_ms);
    check(ltx.chain(oldest).chain(newest), time_ms)
}

fn check(times_ms: impl Iterator<Item = i64> + Clone, time_ms: i64) -> Result<()> {
    let oldest = times_ms.clone().min();
    if oldest.is_some_and(|oldest| oldest <= time_ms) && times_ms.max() >= Some(time_ms) {
        return Ok(());
    }
    Err(Error::invalid("timestamp does not exist"))
}
