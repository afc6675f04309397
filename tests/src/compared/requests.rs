use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::app::App;
use super::place::Place;
use super::program::Program;
use super::restored::Restored;
use super::{Finding, Hazard, Scale};

/// Levels of a replica, snapshots included.
const LEVELS: u8 = 10;

pub(super) const HAZARD: Hazard = Hazard {
    promise: "A restore of one file lists no level twice",
    staging: "The replica is in a folder, not in an object store, and has one file, and a folder for \
              each of the ten levels. `restore` gets its URL. How often the folders are listed, and \
              which files are opened, is what the kernel says.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let place = Place::new("", "");
    let app = App::create(&place.database(), "first", 10);
    program.replicate_once(&place);
    let truth = app.state();
    for level in 0..LEVELS {
        std::fs::create_dir_all(place.level(level)).expect("make a folder");
    }
    let watch = Watch::begin(&place);
    let restored = Restored::by(program, &place);
    let seen = watch.end();
    Finding {
        holds: restored.is(&truth) && seen.lists <= u32::from(LEVELS),
        words: format!(
            "folders are listed {} times, files opened {}; {}",
            seen.lists,
            seen.files,
            restored.words(&truth)
        ),
    }
}

/// Counts what is done in a replica.
struct Watch(OwnedFd);

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How often a folder was listed.
    lists: u32,
    /// How often a file was opened.
    files: u32,
}

impl Watch {
    fn begin(place: &Place) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let queue = queue.expect("watch files");
        let levels = (0..LEVELS).map(|level| place.level(level));
        for folder in levels.chain([place.replica(), place.replica().join("ltx")]) {
            let events = WatchFlags::OPEN | WatchFlags::ACCESS | WatchFlags::CLOSE;
            inotify::add_watch(&queue, &folder, events).expect("watch a folder");
        }
        Self(queue)
    }

    fn end(self) -> Seen {
        let mut seen = Seen::default();
        // A folder is read in pieces until it is closed.
        let mut being_read = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.0, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return seen,
                Err(error) => panic!("watch files: {error}"),
            };
            let (what, is_itself) = (event.events(), event.file_name().is_none());
            if is_itself && what.contains(ReadFlags::ACCESS) {
                seen.lists += u32::from(being_read.insert(event.wd()));
            } else if is_itself {
                being_read.remove(&event.wd());
            } else if what.contains(ReadFlags::OPEN) && !what.contains(ReadFlags::ISDIR) {
                seen.files += 1;
            }
        }
    }
}
