use std::time::Duration;

use jiff::Timestamp;

use super::app::App;
use super::place::Place;
use super::program::Program;
use super::restored::Restored;
use super::{Finding, Hazard, Scale, comes_true};

/// How long it may take until `list` shows a sync that came later.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const HAZARD: Hazard = Hazard {
    promise: "Who says that it replicates does",
    staging: "While replication runs, the newest file in the local state directory is removed. Then \
              the application commits three times. `list` is asked, replication is stopped, and the \
              replica is restored.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let place = Place::new("", "");
    let app = App::create(&place.database(), "first", 10);
    let running = program.replicate(&place);
    program.sync(&place);
    app.commit();
    program.sync(&place);
    std::fs::remove_file(place.newest_local()).expect("remove a file");
    for _ in 0..3 {
        app.commit();
    }
    let lost_at = Timestamp::now();
    let is_fresh = comes_true(PATIENCE, || {
        let synced = program.list(&place)["last_sync_at"].take();
        let synced = synced.as_str().and_then(|at| at.parse::<Timestamp>().ok());
        synced > Some(lost_at)
    });
    let status = program.list(&place)["status"].take();
    let status = status.as_str().expect("a status");
    let truth = app.state();
    let ended = running.terminate();
    let restored = Restored::by(program, &place);
    let health = if is_fresh {
        "with a sync since the last commit"
    } else {
        "with no sync since the last commit"
    };
    let code = ended.status.code().expect("it ended by itself");
    Finding {
        holds: restored.is(&truth) || status != "replicating",
        words: format!(
            "`list` says `{status}`, {health}; it ends with exit code {code}, and {}",
            restored.words(&truth)
        ),
    }
}
