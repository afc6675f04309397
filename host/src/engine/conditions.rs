//! What can be wrong with a database for a while, and when that begins and ends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lockkeeper_core::policy::{Event, Severity};
use lockkeeper_ltx::Txid;
use tokio::sync::mpsc;

use super::shared::{Marks, name_of};
use super::status::DatabaseState;
use crate::clock;

/// Something that is wrong with a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    CaptureFailing,
    ReplicaFailing,
    Fenced,
    VerificationFailed,
    Lost,
    HeadMissing,
    Undone,
    LogHeld,
    DeletionPaused,
}

impl Condition {
    const ALL: [Self; 9] = [
        Self::CaptureFailing,
        Self::ReplicaFailing,
        Self::Fenced,
        Self::VerificationFailed,
        Self::Lost,
        Self::HeadMissing,
        Self::Undone,
        Self::LogHeld,
        Self::DeletionPaused,
    ];

    /// As `wit/policy.wit` lists them.
    fn code(self) -> &'static str {
        match self {
            Self::CaptureFailing => "capture-failing",
            Self::ReplicaFailing => "replica-failing",
            Self::Fenced => "fenced",
            Self::VerificationFailed => "verification-failed",
            Self::Lost => "lost",
            Self::HeadMissing => "head-missing",
            Self::Undone => "undone",
            Self::LogHeld => "log-held",
            Self::DeletionPaused => "deletion-paused",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::ReplicaFailing | Self::DeletionPaused => Severity::Warning,
            _ => Severity::Error,
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The conditions that hold at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Conditions(u16);

impl Conditions {
    pub(super) fn of_state(state: &DatabaseState) -> Self {
        Self(match state {
            DatabaseState::Failing(_) => Condition::CaptureFailing.bit(),
            DatabaseState::ReplicaFailing(_) => Condition::ReplicaFailing.bit(),
            DatabaseState::Fenced { .. } => Condition::Fenced.bit(),
            _ => 0,
        })
    }

    pub(super) fn of_marks(marks: &Marks) -> Self {
        let held = [
            (
                Condition::VerificationFailed,
                marks.verification_failed.is_some(),
            ),
            (Condition::Lost, marks.lost.is_some()),
            (Condition::HeadMissing, marks.head_missing.is_some()),
            (Condition::Undone, marks.undone.is_some()),
            (Condition::LogHeld, marks.log_held.is_some()),
            (Condition::DeletionPaused, marks.deletion_paused.is_some()),
        ];
        let held = held.into_iter().filter(|(_, holds)| *holds);
        Self(held.fold(0, |bits, (condition, _)| bits | condition.bit()))
    }

    /// What began and what ended since.
    pub(super) fn since(self, before: Self) -> impl Iterator<Item = (Condition, bool)> {
        let changed = self.0 ^ before.0;
        let all = Condition::ALL.into_iter();
        all.filter(move |it| changed & it.bit() != 0)
            .map(move |it| (it, self.0 & it.bit() != 0))
    }
}

/// What is wrong, in words.
pub(super) fn message_of_state(state: &DatabaseState) -> String {
    match state {
        DatabaseState::Failing(why) | DatabaseState::ReplicaFailing(why) => why.clone(),
        DatabaseState::Fenced {
            owner, database, ..
        } => format!("the replica belongs to {database} of {owner} now"),
        _ => "it is over".to_owned(),
    }
}

/// What is wrong, in words.
pub(super) fn message_of_marks(condition: Condition, marks: &Marks) -> String {
    let text = |txid: Option<Txid>| txid.map(|txid| txid.to_string());
    let found = match condition {
        Condition::VerificationFailed => marks.verification_failed.clone(),
        Condition::Lost => marks
            .lost
            .map(|lost| format!("the replica has lost transactions {lost}")),
        Condition::HeadMissing => text(marks.head_missing)
            .map(|txid| format!("transactions up to {txid} were durable and are gone")),
        Condition::Undone => text(marks.undone)
            .map(|txid| format!("the database came back older than transaction {txid}")),
        Condition::LogHeld => marks.log_held.map(|held| {
            format!(
                "a reader keeps {} bytes of log from being emptied",
                held.bytes
            )
        }),
        Condition::DeletionPaused => marks.deletion_paused.clone(),
        Condition::CaptureFailing | Condition::ReplicaFailing | Condition::Fenced => None,
    };
    found.unwrap_or_else(|| "it is over".to_owned())
}

/// An event, and the file of the database that it is about.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) path: PathBuf,
    pub(super) event: Event,
}

/// Where events of a database go. Never waits: what does not fit is left out.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Option<mpsc::Sender<Happened>>>);

impl Events {
    pub(super) fn new(sender: mpsc::Sender<Happened>) -> Self {
        Self(Mutex::new(Some(sender)))
    }

    pub(super) fn tell(&self, path: &Path, condition: Condition, begins: bool, message: String) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*sender else { return };
        let database = name_of(path);
        let event = Event {
            now_ms: u64::try_from(clock::now_ms()).unwrap_or(0),
            database: database.clone(),
            code: condition.code().into(),
            begins,
            severity: if begins {
                condition.severity()
            } else {
                Severity::Note
            },
            message,
            ..Event::default()
        };
        let path = path.to_owned();
        if sender.try_send(Happened { path, event }).is_err() {
            tracing::warn!(%database, code = condition.code(), "too much happens to tell the policy of it");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_begins_and_what_ends_is_found() {
        let mut marks = Marks::default();
        let none = Conditions::of_marks(&marks);
        marks.verification_failed = Some("page 7".into());
        marks.deletion_paused = Some("it failed".into());
        let two = Conditions::of_marks(&marks);
        let begun: Vec<_> = two.since(none).collect();
        assert_eq!(
            begun,
            [
                (Condition::VerificationFailed, true),
                (Condition::DeletionPaused, true)
            ]
        );
        let found = message_of_marks(Condition::VerificationFailed, &marks);
        assert_eq!(found, "page 7");
        marks.deletion_paused = None;
        let ended: Vec<_> = Conditions::of_marks(&marks).since(two).collect();
        assert_eq!(ended, [(Condition::DeletionPaused, false)]);
    }

    #[test]
    fn every_event_is_one_that_the_contract_lists() {
        let contract = include_str!("../../../wit/policy.wit");
        for condition in Condition::ALL {
            let code = format!("`{}`", condition.code());
            assert!(contract.contains(&code), "{code}");
        }
    }
}
