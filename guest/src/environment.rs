//! Finds what Litestream would take from the environment. An embedded replicator must not: the
//! application decides what it hands on.

use alloc::format;
use alloc::string::String;

use crate::plan::{Position, Severity};
use crate::report::{Report, short};

/// Reports every `$NAME` and `${…}`. It does not matter whether it stands in a comment: Litestream
/// replaces it there, too, and a value with a line break in it would end the comment.
pub(crate) fn check(source: &str, report: &mut Report) {
    let mut at = Position { line: 1, column: 1 };
    let mut rest = source.chars();
    while let Some(c) = rest.next() {
        if c == '\n' {
            at = Position {
                line: at.line + 1,
                column: 1,
            };
            continue;
        }
        let here = at;
        at.column += 1;
        if c != '$' {
            continue;
        }
        let mut ahead = rest.clone();
        match ahead.next() {
            Some('$') => {
                rest = ahead;
                at.column += 1;
            }
            Some(next) if next == '{' || next == '_' || next.is_ascii_alphabetic() => {
                let text = rest.as_str();
                report.add(Severity::Error, "environment-variable", "", Some(here), || {
                    let name: String = text
                        .trim_start_matches('{')
                        .chars()
                        .take_while(|c| *c == '_' || c.is_ascii_alphanumeric())
                        .collect();
                    let message = format!(
                        "`{}` is not replaced from the environment",
                        if next == '{' {
                            format!("${{{}}}", short(&name))
                        } else {
                            format!("${}", short(&name))
                        }
                    );
                    let help = "write the value itself, or let the application fill it in before \
                                it hands the configuration on; for a literal `$` write `$$`";
                    (message, Some(help.into()))
                });
            }
            _ => {}
        }
    }
}
