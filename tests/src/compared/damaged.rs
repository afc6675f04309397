use super::app::App;
use super::place::Place;
use super::program::Program;
use super::restored::{Restored, sync_words};
use super::{Finding, Hazard, Scale};

pub(super) const HAZARD: Hazard = Hazard {
    promise: "Replication recovers from a damaged local file",
    staging: "With `auto-recover: true`. While replication is stopped, the newest file in the local \
              state directory loses its second half, as in a power cut. Replication is started, and \
              the application commits.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let place = Place::new("", "auto-recover: true");
    let app = App::create(&place.database(), "first", 10);
    let running = program.replicate(&place);
    program.sync(&place);
    app.commit();
    program.sync(&place);
    let _ended = running.terminate();
    let newest = place.newest_local();
    let bytes = std::fs::read(&newest).expect("read a local file");
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).expect("damage a local file");
    let running = program.replicate(&place);
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
