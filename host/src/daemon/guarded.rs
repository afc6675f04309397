//! What a daemon does, so that one that panics or hangs does not keep the others from ending.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;

use super::DaemonResult;

/// The result of `work`; a panic is an error.
pub(super) async fn catch(work: impl Future<Output = DaemonResult>) -> DaemonResult {
    // What a panicking daemon leaves behind is only ever stopped or dropped.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(format!("it panicked: {}", text(&*panic)).into()),
    }
}

/// As [`catch`], and not finishing in time is an error too.
pub(super) async fn catch_within(
    deadline: Duration,
    work: impl Future<Output = DaemonResult>,
) -> DaemonResult {
    match tokio::time::timeout(deadline, catch(work)).await {
        Ok(result) => result,
        Err(_) => Err(format!("it does not end ({})", humantime::format_duration(deadline)).into()),
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it does not say why")
}
