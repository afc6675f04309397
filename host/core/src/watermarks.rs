//! How far a database has come on its way to the replica.

use lockkeeper_ltx::Txid;

/// The last transaction that was sealed, and the last one the replica confirmed.
///
/// Invariant: `durable ≤ spooled`, always.
///
/// # Example
///
/// ```
/// use lockkeeper_core::watermarks::Watermarks;
/// use lockkeeper_ltx::Txid;
///
/// let mut marks = Watermarks::new(None, None);
/// marks.seal(Txid::FIRST); // spooled
/// assert!(!marks.is_settled());
/// marks.confirm(Txid::FIRST); // durable
/// assert!(marks.is_settled() && marks.durable() == marks.spooled());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watermarks {
    spooled: Option<Txid>,
    durable: Option<Txid>,
}

impl Watermarks {
    /// Marks at the start of a run.
    ///
    /// # Panics
    ///
    /// If `durable > spooled`: the caller read its state wrongly.
    #[must_use]
    pub fn new(spooled: Option<Txid>, durable: Option<Txid>) -> Self {
        assert!(
            durable <= spooled,
            "durable {durable:?} is ahead of spooled {spooled:?}"
        );
        Self { spooled, durable }
    }

    /// The last transaction in a sealed local file.
    #[must_use]
    pub fn spooled(self) -> Option<Txid> {
        self.spooled
    }

    /// The last transaction the replica confirmed, with every one before it.
    #[must_use]
    pub fn durable(self) -> Option<Txid> {
        self.durable
    }

    /// Records that `txid` was sealed.
    ///
    /// # Panics
    ///
    /// Unless `txid` follows the last sealed one.
    pub fn seal(&mut self, txid: Txid) {
        let expected = self.spooled.map_or(Some(Txid::FIRST), Txid::next);
        assert_eq!(Some(txid), expected, "transactions are sealed in order");
        self.spooled = Some(txid);
    }

    /// Records that the replica confirmed `txid`.
    ///
    /// # Panics
    ///
    /// Unless `txid` follows the last confirmed one and was sealed: sending ahead of a missing
    /// transaction would leave a gap in the replica.
    pub fn confirm(&mut self, txid: Txid) {
        let expected = self.durable.map_or(Some(Txid::FIRST), Txid::next);
        assert_eq!(Some(txid), expected, "transactions are confirmed in order");
        assert!(
            Some(txid) <= self.spooled,
            "{txid} was confirmed before it was sealed"
        );
        self.durable = Some(txid);
    }

    /// Whether everything sealed is confirmed.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.spooled == self.durable
    }
}
