use std::path::Path;
use std::time::Duration;

use lockkeeper_ltx::Txid;

use super::app::{App, State};
use super::place::{Place, newest};
use super::program::{Program, answer};
use super::{Finding, Hazard, Scale, comes_true};

/// How long a copy may take to get what is in the replica. It looks every second.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const HAZARD: Hazard = Hazard {
    promise: "A copy that follows goes on after a stop",
    staging: "`restore -f` follows a replica past its newest snapshot, and is stopped. The \
              application commits, and `restore -f` is started again.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let place = Place::new("", "");
    let app = App::create(&place.database(), "first", 10);
    let running = program.replicate(&place);
    program.sync(&place);
    assert!(
        comes_true(PATIENCE, || newest(&place.level(9)).is_some()),
        "no snapshot was made"
    );
    let copy = place.path("copy.db");
    let following = program.follow(&place, &copy);
    app.commit();
    program.sync(&place);
    assert!(
        comes_true(PATIENCE, || is_level(&copy, &place)),
        "no copy was made"
    );
    let _ended = following.terminate();
    app.commit();
    program.sync(&place);
    let mut following = program.follow(&place, &copy);
    let mut has_ended = false;
    comes_true(PATIENCE, || {
        has_ended = following.has_ended();
        has_ended || is_level(&copy, &place)
    });
    let ended = if has_ended {
        following.finish()
    } else {
        following.terminate()
    };
    let said = answer(ended, &place);
    let truth = app.state();
    let _ended = running.terminate();
    let holds = State::read(&copy).as_ref() == Ok(&truth);
    let words = match said {
        _ if holds => "it goes on, and the copy has the last commit".to_owned(),
        Err(said) if has_ended => format!("it fails: {said}"),
        _ => "it runs, and the copy does not get the last commit".to_owned(),
    };
    Finding { holds, words }
}

/// Whether a copy has everything that is in the replica.
fn is_level(copy: &Path, place: &Place) -> bool {
    let text = std::fs::read_to_string(format!("{}-txid", copy.display()));
    let at: Option<Txid> = text.ok().and_then(|text| text.trim().parse().ok());
    at.is_some() && at >= newest(&place.level(0))
}
