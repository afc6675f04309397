use lockkeeper_ltx::{FileName, TxidRange};

use super::app::App;
use super::place::{Place, newest, ranges};
use super::program::Program;
use super::{Finding, Hazard, Scale, figure};

/// About 20 MB of them.
const ROWS: u32 = 5_000;

pub(super) const HAZARD: Hazard = Hazard {
    promise: "One row that was written while replication was down costs no full copy",
    staging: "A database of 20 MB is replicated, and replication is stopped. The application opens \
              the database, commits one row and closes it, which removes the log. Replication is \
              started again. What level 0 of the replica gets is counted.",
    observe,
};

fn observe(program: &Program, scale: Scale) -> Finding {
    let place = Place::new("", "");
    let app = App::create(&place.database(), "first", scale.of(ROWS));
    let running = program.replicate(&place);
    program.sync(&place);
    app.commit();
    program.sync(&place);
    let _ended = running.terminate();
    drop(app);
    let before = newest(&place.level(0));
    let app = App::open(&place.database());
    app.commit();
    drop(app);
    let size = std::fs::metadata(place.database())
        .expect("look at the database")
        .len();
    let running = program.replicate(&place);
    program.sync(&place);
    let _ended = running.terminate();
    let new = ranges(&place.level(0))
        .into_iter()
        .filter(|range| Some(TxidRange::max(*range)) > before);
    let sent: u64 = new
        .map(|range| {
            let file = FileName::new(range).to_string();
            let file = std::fs::metadata(place.level(0).join(file));
            file.expect("look at a file").len()
        })
        .sum();
    let of_database = 100.0 * sent as f64 / size as f64;
    Finding {
        holds: sent > 0 && sent < size / 10,
        words: format!(
            "the replica gets {} of the database",
            figure(of_database, "%")
        ),
    }
}
