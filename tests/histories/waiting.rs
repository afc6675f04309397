//! Waiting for what programs do by themselves.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use notify::{Event, RecursiveMode, Watcher};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Between two tries of what nothing tells of.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a change of a folder may go unnoticed: it was made before the folder was watched.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits until something is so in a folder, or until it has taken too long.
pub(crate) fn in_folder(
    folder: &Path,
    deadline: Duration,
    mut is_so: impl FnMut() -> bool,
) -> bool {
    // One event that waits says as much as many.
    let (sender, events) = sync_channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })
    .unwrap();
    watcher.watch(folder, RecursiveMode::Recursive).unwrap();
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > deadline {
            return false;
        }
        let _ = events.recv_timeout(LOOK_AGAIN);
    }
    true
}

/// Tries until it works.
pub(crate) fn until_done<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(start.elapsed() < DEADLINE, "{what}: {error}"),
        }
        std::thread::sleep(PAUSE);
    }
}
