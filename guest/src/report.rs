//! Collects what is found, within bounds.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::plan::{Diagnostic, Position, Severity};

/// More than this helps nobody, and a hostile source could fill the host's memory with it.
const MAX_DIAGNOSTICS: usize = 100;
const MAX_QUOTE: usize = 60;

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    kept: Vec<Diagnostic>,
    /// How many of them are not errors.
    lesser: usize,
    dropped: usize,
    failed: bool,
}

impl Report {
    /// Whether there was an error.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// Adds one. `message` and `help` are asked for only where they will be shown.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &str,
        position: Option<Position>,
        text: impl FnOnce() -> (String, Option<String>),
    ) {
        let is_error = severity == Severity::Error;
        self.failed |= is_error;
        if self.kept.len() >= MAX_DIAGNOSTICS {
            self.dropped += 1;
            // An error must not go under in warnings.
            match self
                .kept
                .iter()
                .rposition(|it| it.severity != Severity::Error)
            {
                Some(lesser) if is_error => self.kept.remove(lesser),
                _ => return,
            };
        }
        self.lesser += usize::from(!is_error);
        let (message, help) = text();
        let path = path.into();
        self.kept.push(Diagnostic {
            severity,
            code,
            path,
            position,
            message,
            help,
        });
    }

    /// Adds an error.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        path: &str,
        at: Position,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, path, Some(at), || {
            (message.into(), Some(help.into()))
        });
    }

    /// Everything, in the order of the source.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|it| it.position);
        if self.dropped > 0 {
            self.kept.push(Diagnostic {
                severity: if self.failed {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                code: "too-many-diagnostics",
                path: String::new(),
                position: None,
                message: format!("and {} more", self.dropped),
                help: None,
            });
        }
        self.kept
    }
}

/// Text of the source in a message: short, on one line, and without what a URL may carry.
pub(crate) fn quote(text: &str) -> String {
    if let Some((scheme, _)) = text.split_once("://") {
        return format!("`{}://…`", short(scheme));
    }
    format!("`{}`", short(text))
}

/// Text of the source in a path.
pub(crate) fn short(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTE)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(MAX_QUOTE).is_some() {
        shown.push('…');
    }
    shown
}

/// The nearest of `known`, if it is near enough to be meant.
pub(crate) fn suggest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > MAX_QUOTE {
        return None;
    }
    let given = given.to_lowercase().replace('_', "-");
    known
        .map(|name| (distance(&given, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be added, removed or replaced to make `a` into `b`. The crates for this
/// need `std`, and with it the component would import half a system.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("sync", "sync"), 0);
    }
}
