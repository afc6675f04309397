use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::app::App;
use super::place::Place;
use super::program::Program;
use super::{Finding, Hazard, Scale};

/// Levels of a replica, snapshots included.
const LEVELS: u8 = 10;

pub(super) const HAZARD: Hazard = Hazard {
    promise: "A restore of one file lists no level twice",
    staging: "Measured on a replica in a folder, which has one file and a folder for each of the ten \
              levels. `restore` gets its URL. A folder that is opened would be a LIST of an object \
              store, a file that is opened a GET.",
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
    let restored = super::restored::Restored::by(program, &place);
    let opened = watch.end();
    Finding {
        holds: restored.is(&truth) && opened.folders <= u32::from(LEVELS) + 2,
        words: format!(
            "it opens folders {} times and files {} times, and {}",
            opened.folders,
            opened.files,
            restored.words(&truth)
        ),
    }
}

/// Counts what is opened in a replica.
struct Watch(OwnedFd);

#[derive(Clone, Copy, Debug, Default)]
struct Opened {
    folders: u32,
    files: u32,
}

impl Watch {
    fn begin(place: &Place) -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let queue = queue.expect("watch files");
        let levels = (0..LEVELS).map(|level| place.level(level));
        for folder in levels.chain([place.replica(), place.replica().join("ltx")]) {
            // The kernel counts equal events in a row once; a close lies between two that open.
            let events = WatchFlags::OPEN | WatchFlags::CLOSE;
            inotify::add_watch(&queue, &folder, events).expect("watch a folder");
        }
        Self(queue)
    }

    fn end(self) -> Opened {
        let mut opened = Opened::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(self.0, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if !event.events().contains(ReadFlags::OPEN) => {}
                Ok(event) if event.file_name().is_none() => opened.folders += 1,
                // A folder in a folder is watched by itself.
                Ok(event) if event.events().contains(ReadFlags::ISDIR) => {}
                Ok(_) => opened.files += 1,
                Err(Errno::WOULDBLOCK) => return opened,
                Err(error) => panic!("watch files: {error}"),
            }
        }
    }
}
