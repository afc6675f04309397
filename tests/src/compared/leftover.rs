use super::app::{App, State};
use super::place::Place;
use super::program::Program;
use super::{Finding, Hazard, Scale};
use crate::database;

/// Commits that are in the log only.
const COMMITS: u32 = 50;

pub(super) const HAZARD: Hazard = Hazard {
    promise: "A restore beside a log of the lost database gives what the replica holds",
    staging: "The database is replicated. The application commits 50 times more, and crashes. The \
              database file is lost, its `-wal` is not. The replica is restored to its path, and \
              opened.",
    observe,
};

fn observe(program: &Program, _: Scale) -> Finding {
    let place = Place::new("", "");
    let path = place.database();
    let app = App::create(&path, "first", 10);
    program.replicate_once(&place);
    let truth = app.state();
    for _ in 0..COMMITS {
        app.commit();
    }
    let log = std::fs::read(database::wal(&path)).expect("read the log");
    drop(app);
    std::fs::remove_file(&path).expect("lose the database");
    std::fs::write(database::wal(&path), log).expect("leave the log");
    match program.restore(&place, &path, &[]) {
        Ok(()) => opened(&path, &truth, "a restore succeeds"),
        Err(said) => {
            let forced = program.restore(&place, &path, &["-force"]);
            forced.expect("it can be forced");
            opened(
                &path,
                &truth,
                &format!("a restore fails: {said}; with `-force` it succeeds"),
            )
        }
    }
}

fn opened(path: &std::path::Path, truth: &State, how: &str) -> Finding {
    let found = State::read(path);
    let words = match &found {
        Ok(found) if found == truth => "the database is what the replica holds".to_owned(),
        Ok(found) => format!(
            "the database has {} commits that are not in the replica",
            found.rows.abs_diff(truth.rows)
        ),
        Err(said) => format!("the database is `{said}`"),
    };
    Finding {
        holds: found.as_ref() == Ok(truth),
        words: format!("{how}, and {words}"),
    }
}
