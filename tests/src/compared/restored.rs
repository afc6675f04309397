//! What a restore makes, and what it should have made.

use super::app::State;
use super::place::Place;
use super::program::Program;

/// What came of a restore.
#[derive(Debug)]
pub(super) enum Restored {
    /// A database.
    Sound(State),
    /// It succeeded, and SQLite says this of what it made.
    Damaged(String),
    /// It failed, with this message.
    Refused(String),
}

impl Restored {
    /// Restores the newest state as a new file.
    pub(super) fn by(program: &Program, place: &Place) -> Self {
        let output = place.path("restored.db");
        if let Err(said) = program.restore(place, &output, &[]) {
            return Self::Refused(said);
        }
        match State::read(&output) {
            Ok(state) => Self::Sound(state),
            Err(said) => Self::Damaged(place.quote(&said)),
        }
    }

    pub(super) fn is(&self, truth: &State) -> bool {
        matches!(self, Self::Sound(state) if state == truth)
    }

    /// What happened, as the end of a sentence.
    pub(super) fn words(&self, truth: &State) -> String {
        match self {
            Self::Refused(said) => format!("a restore fails: {said}"),
            Self::Damaged(said) => format!("a restore succeeds and gives a file that is {said}"),
            Self::Sound(state) if state == truth => "a restore gives the database".to_owned(),
            Self::Sound(state) if state.name != truth.name => {
                "a restore succeeds and gives the old database".to_owned()
            }
            Self::Sound(state) => match truth.rows.checked_sub(state.rows) {
                Some(1) => "a restore succeeds without the last commit".to_owned(),
                Some(missing) => format!("a restore succeeds without the last {missing} commits"),
                None => "a restore succeeds with rows that nobody committed".to_owned(),
            },
        }
    }
}

/// What was said to a request for a sync, as the beginning of a sentence.
pub(super) fn sync_words(synced: &Result<(), String>) -> String {
    match synced {
        Ok(()) => "`sync -wait` succeeds, and ".to_owned(),
        Err(said) => format!("`sync -wait` fails: {said}; "),
    }
}
