//! The page, as HTML that needs no script.

use askama::Template;
use serde::Deserialize;

use crate::guestbook::{Entries, Entry};
use crate::replication::Database;

/// Characters in a name.
pub(crate) const NAME_MAX: usize = 80;
/// Characters in a message.
pub(crate) const MESSAGE_MAX: usize = 1000;

/// What the form sends.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Draft {
    name: String,
    message: String,
}

impl Draft {
    /// Without the white space around it, and with the line ends of Unix.
    pub(crate) fn tidied(&self) -> Self {
        Self {
            name: self.name.trim().to_owned(),
            message: self.message.replace("\r\n", "\n").trim().to_owned(),
        }
    }

    /// The name and the message.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, for the person who wrote it.
    pub(crate) fn accept(self) -> Result<(String, String), (Self, String)> {
        let problem = match (self.name.chars().count(), self.message.chars().count()) {
            (0, _) => "Please write your name.".to_owned(),
            (_, 0) => "Please write a message.".to_owned(),
            (name, _) if name > NAME_MAX => {
                format!("A name has at most {NAME_MAX} characters; this one has {name}.")
            }
            (_, message) if message > MESSAGE_MAX => {
                format!("A message has at most {MESSAGE_MAX} characters; this one has {message}.")
            }
            _ => return Ok((self.name, self.message)),
        };
        Err((self, problem))
    }
}

/// The guest book with its form. The template escapes every value.
#[derive(Template)]
#[template(path = "guestbook.html")]
pub(crate) struct Page {
    pub(crate) entries: Entries,
    /// The first page has the form; the others are for reading.
    pub(crate) is_first: bool,
    pub(crate) draft: Draft,
    pub(crate) problem: Option<String>,
    pub(crate) databases: Vec<Database>,
}

impl Page {
    fn name_max(&self) -> usize {
        NAME_MAX
    }

    fn message_max(&self) -> usize {
        MESSAGE_MAX
    }

    /// What the foot of the page says about the replica.
    fn replication(&self) -> String {
        let durable = self.databases.iter().filter_map(|db| db.durable).max();
        let fails = !self.databases.iter().all(Database::is_replicating);
        match durable {
            _ if fails => {
                "The replica cannot be reached. Messages are kept here, and sent later.".to_owned()
            }
            Some(txid) => format!("The replica has every transaction up to {txid}."),
            None => "Replication is starting.".to_owned(),
        }
    }
}

impl Entry {
    /// To the minute, for people.
    fn written(&self) -> String {
        let minute = self.created_at.get(..16).unwrap_or(&self.created_at);
        format!("{} UTC", minute.replace('T', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(name: &str, message: &str) -> Draft {
        Draft {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }

    #[track_caller]
    fn refused(draft: Draft, part: &str) {
        let (_, problem) = draft.tidied().accept().unwrap_err();
        assert!(problem.contains(part), "{problem}");
    }

    #[test]
    fn a_draft_is_refused_when_a_part_is_blank_or_too_long() {
        refused(draft(" \n", "hello"), "your name");
        refused(draft("Ada", "\r\n "), "a message");
        refused(draft(&"é".repeat(81), "hello"), "81");
        refused(draft("Ada", &"é".repeat(1001)), "1001");
        let longest = draft(&"é".repeat(80), &"é".repeat(1000));
        assert!(longest.tidied().accept().is_ok());
    }

    #[test]
    fn white_space_around_a_draft_goes_and_line_ends_are_those_of_unix() {
        let (name, message) = draft(" Ada ", " a\r\nb \r\n").tidied().accept().unwrap();
        assert_eq!((name.as_str(), message.as_str()), ("Ada", "a\nb"));
    }
}
