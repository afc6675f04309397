//! Text that must not leave the process but to whom it is meant for.

use std::fmt;

use zeroize::Zeroizing;

/// Text that is never printed and is wiped from memory when it is dropped.
#[derive(Clone, Default, Eq, PartialEq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the client of a store and nobody else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
