use std::time::Duration;

use lockkeeper_ltx::{FileName, TxidRange};

use super::app::App;
use super::place::{Place, newest, ranges};
use super::program::Program;
use super::restored::Restored;
use super::{Finding, Hazard, Scale, comes_true};

/// How long a file of level 1 may take: they are written every five seconds.
const PATIENCE: Duration = Duration::from_secs(12);

pub(super) const HAZARD: Hazard = Hazard {
    promise: "A file that the replica lost, and whose local copy exists, stops no restore",
    staging: "With `levels: [{interval: 5s}]` and `l0-retention-check-interval: 1s`. While replication runs, a file in the middle of level \
              0 of the replica is removed before it was merged. The application goes on until a file \
              of level 1 covers what comes after it, or for twelve seconds.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let settings = "levels: [{interval: 5s}]\nl0-retention-check-interval: 1s";
    let place = Place::new(settings, "");
    let app = App::create(&place.database(), "first", 10);
    let commit = || {
        app.commit();
        program.sync(&place);
    };
    let running = program.replicate(&place);
    program.sync(&place);
    let merged = || newest(&place.level(1));
    let is_merged = comes_true(PATIENCE, || {
        commit();
        merged().is_some()
    });
    assert!(is_merged, "no level 1");
    let lost = loop {
        (0..4).for_each(|_| commit());
        let files = ranges(&place.level(0));
        let lost = files[files.len() - 2];
        // Else it was merged meanwhile, and its loss is none.
        if merged() < Some(TxidRange::min(lost)) {
            break lost;
        }
    };
    let file = place.level(0).join(FileName::new(lost).to_string());
    std::fs::remove_file(&file).expect("remove a file");
    let is_merged = comes_true(PATIENCE, || {
        commit();
        merged() > Some(TxidRange::max(lost))
    });
    let truth = app.state();
    let _ended = running.terminate();
    let goes_on = if is_merged { "goes on" } else { "stands still" };
    let restored = Restored::by(program, &place);
    Finding {
        holds: restored.is(&truth),
        words: format!("level 1 {goes_on}, and {}", restored.words(&truth)),
    }
}
