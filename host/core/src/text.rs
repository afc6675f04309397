//! Text that others wrote, made fit for a log line or a terminal.

/// Escapes what could forge a line or move a cursor, and cuts after `chars_max` characters.
///
/// # Example
///
/// ```
/// use lockkeeper_core::text::printable;
/// assert_eq!(printable("ok\n\u{1b}[2Jgone", 80), "ok\\u{a}\\u{1b}[2Jgone");
/// assert_eq!(printable("too long", 3), "too…");
/// ```
#[must_use]
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        if char.is_control() || reorders(char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Line and paragraph separators, and the marks that change the direction of the text around them.
fn reorders(char: char) -> bool {
    matches!(
        char,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}
