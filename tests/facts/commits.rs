//! Learning of a commit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use lockkeeper_tests::database::{shm, wal};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rusqlite::hooks::Wal;

use super::{App, OtherProcess};

const COMMITS: u32 = 200;
const EVENTS_MAX: usize = 10_000;
const DEADLINE: Duration = Duration::from_secs(30);

/// Notifications of everything in the folder of a database, in order.
struct Notifications {
    _watcher: RecommendedWatcher,
    events: Receiver<Event>,
    folder: std::path::PathBuf,
    markers: u32,
}

/// Which files were written to.
#[derive(Debug, Eq, PartialEq)]
struct Written {
    log: bool,
    shm: bool,
}

impl Notifications {
    fn of(app: &App) -> Self {
        let (sender, events) = sync_channel(EVENTS_MAX);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // The receiver is gone when the test is over.
            let _ = sender.send(event.unwrap());
        })
        .unwrap();
        let folder = app.path.parent().unwrap().to_owned();
        watcher.watch(&folder, RecursiveMode::NonRecursive).unwrap();
        Self {
            _watcher: watcher,
            events,
            folder,
            markers: 0,
        }
    }

    /// What was written since the last call. A file that is made now marks the end: notifications
    /// keep the order of what they tell of, so nothing has to be waited out.
    fn so_far(&mut self, database: &Path) -> Written {
        self.markers += 1;
        let marker = self.folder.join(format!("marker-{}", self.markers));
        std::fs::write(&marker, "").unwrap();
        let mut written = Written {
            log: false,
            shm: false,
        };
        loop {
            let event = self.events.recv_timeout(DEADLINE).unwrap();
            if event.paths.contains(&marker) {
                return written;
            }
            if matches!(event.kind, EventKind::Modify(_)) {
                written.log |= event.paths.contains(&wal(database));
                written.shm |= event.paths.contains(&shm(database));
            }
        }
    }
}

const LOG_ONLY: Written = Written {
    log: true,
    shm: false,
};
const NOTHING: Written = Written {
    log: false,
    shm: false,
};

#[test]
fn every_commit_is_notified_on_the_log_and_none_on_the_shm() {
    let app = App::new();
    let mut notifications = Notifications::of(&app);
    assert_eq!(notifications.so_far(&app.path), NOTHING);
    for commit in 0..COMMITS {
        app.commit();
        assert_eq!(notifications.so_far(&app.path), LOG_ONLY, "{commit}");
    }
}

#[test]
fn commits_of_another_process_are_notified_alike() {
    let app = App::new();
    let mut other = OtherProcess::start(&app);
    let mut notifications = Notifications::of(&app);
    for commit in 0..COMMITS {
        other.commit();
        assert_eq!(notifications.so_far(&app.path), LOG_ONLY, "{commit}");
    }
    other.close();
}

#[test]
fn a_hook_on_the_log_is_called_for_commits_of_its_own_connection_only() {
    let mut app = App::new();
    let other = app.connect();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let hook = move |_: &mut Wal, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    app.connection.wal_hook(Some(hook)).unwrap();
    super::commit(&other);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    app.commit();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn the_size_of_the_log_says_nothing_once_it_was_restarted() {
    let app = App::new();
    for _ in 0..20 {
        app.commit();
    }
    let size = || std::fs::metadata(wal(&app.path)).unwrap().len();
    let before = size();
    app.checkpoint("PASSIVE");
    let rows = app.rows();
    app.commit();
    app.commit();
    assert_eq!(size(), before, "written over from the start");
    assert_eq!(app.rows(), rows + 2);
}
