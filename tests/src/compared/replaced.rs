use std::path::Path;

use super::app::App;
use super::place::Place;
use super::program::Program;
use super::restored::{Restored, sync_words};
use super::{Finding, Hazard, Scale};
use crate::database;

const ROWS: u32 = 300;

pub(super) const SMALLER: Hazard = Hazard {
    promise: "A smaller database in the place of the old one is replicated",
    staging: "While replication runs, the application closes its database. Another one of a tenth \
              of the size is moved to its path, `-wal` and `-shm` of the old one are removed, and \
              the application goes on with two commits, each followed by `sync -wait`.",
    observe: |program, _: Scale| observe(program, ROWS / 10),
};

pub(super) const LARGER: Hazard = Hazard {
    promise: "A larger database in the place of the old one is replicated",
    staging: "The same with a database that is ten times as large.",
    observe: |program, _: Scale| observe(program, ROWS * 10),
};

fn observe(program: &Program, rows: u32) -> Finding {
    let place = Place::new("", "");
    let app = App::create(&place.database(), "first", ROWS);
    let running = program.replicate(&place);
    program.sync(&place);
    app.commit();
    program.sync(&place);
    drop(app);
    replace(&place.database(), &place.path("other.db"), rows);
    let app = App::open(&place.database());
    app.commit();
    // The first may be the one that notices.
    let _ = program.try_sync(&place);
    app.commit();
    let synced = program.try_sync(&place);
    let truth = app.state();
    let _ended = running.terminate();
    let restored = Restored::by(program, &place);
    Finding {
        holds: restored.is(&truth),
        words: format!("{}{}", sync_words(&synced), restored.words(&truth)),
    }
}

/// Puts another database in the place of one that no application has open.
fn replace(path: &Path, other: &Path, rows: u32) {
    drop(App::create(other, "second", rows));
    for file in [database::wal(path), database::shm(path)] {
        // The last connection may have removed it.
        let _ = std::fs::remove_file(file);
    }
    std::fs::rename(other, path).expect("move the other database");
}
