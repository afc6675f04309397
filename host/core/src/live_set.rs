//! Which files of a replica are needed.
//!
//! # What is promised
//!
//! The window reaches from `snapshot.retention` ago until now. Inside it these points can be
//! restored, by transaction and by time:
//!
//! - the end of every file of level 1 and higher: with the default levels, one point in 30 seconds;
//! - the end of every file of level 0 that is younger than `l0-retention`;
//! - the state the database had when the window began.
//!
//! Always, whatever the window: the newest transaction.
//!
//! Times are those a listing shows. Where a store shows when an object was uploaded, restores by
//! time are as exact as that.
//!
//! # How it is found
//!
//! A restore takes the newest snapshot up to its target and what continues it ([`restore::plan`]).
//! So everything from one snapshot on is needed: the newest one that is older than the window and
//! not past the first point in it. Litestream deletes that snapshot and keeps what follows it,
//! which leaves the beginning of its window without a start; here it stays.
//!
//! Of level 0 less is needed: what is young, what level 1 did not take yet, and what closes a hole
//! between other files. That last part, and what leads to the newest transaction, are the files
//! which [`restore::plan`] chooses: whoever deletes asks the same function as whoever restores.
//! Taking away files it did not choose cannot make it fail, since each of its choices stays the
//! best there is.

use std::collections::BTreeMap;

use lockkeeper_ltx::{FileName, HEADER_LEN, Level, Txid};
use serde::{Deserialize, Serialize};

use crate::inventory::{Inventory, ReplicaFile};
use crate::restore::{self, PlanError, Target};

/// How long files are kept, as configured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Window {
    /// `snapshot.retention` in milliseconds: how far back restores are promised.
    pub snapshot_retention_ms: u64,
    /// `l0-retention` in milliseconds; 0 keeps files of level 0 forever.
    pub l0_retention_ms: u64,
}

impl Window {
    /// When the window begins, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn start_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.snapshot_retention_ms)
    }

    /// Whether a file of level 0 is too young to be deleted.
    #[must_use]
    pub fn is_young(&self, file: &ReplicaFile, now_ms: u64) -> bool {
        self.l0_retention_ms == 0 || file.age_ms(now_ms) < self.l0_retention_ms
    }
}

impl Default for Window {
    /// Litestream's: 24 hours, and 5 minutes for level 0.
    fn default() -> Self {
        Self {
            snapshot_retention_ms: 24 * 60 * 60 * 1000,
            l0_retention_ms: 5 * 60 * 1000,
        }
    }
}

/// Why a file is needed. Of several reasons the first one counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// It leads to the newest transaction.
    NewestChain,
    /// It is the newest file of its level. Both programs read from it where to go on.
    NewestOfLevel,
    /// It is the snapshot that restores to the beginning of the window start with.
    WindowStart,
    /// It is a snapshot or a merged file, in the window or between its start and it.
    Window,
    /// It is a file of level 0 that is younger than `l0-retention`.
    Young,
    /// It is a file of level 0 in the window that level 1 did not take yet, or will never take
    /// because the replica has no such level.
    Unmerged,
    /// It closes a hole between files that are needed.
    Link,
    /// It restores a point that a policy holds.
    Held,
}

impl Need {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::NewestChain,
        Self::NewestOfLevel,
        Self::WindowStart,
        Self::Window,
        Self::Young,
        Self::Unmerged,
        Self::Link,
        Self::Held,
    ];

    /// A stable name for logs and counters.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NewestChain => "newest-chain",
            Self::NewestOfLevel => "newest-of-level",
            Self::WindowStart => "window-start",
            Self::Window => "window",
            Self::Young => "young",
            Self::Unmerged => "unmerged",
            Self::Link => "link",
            Self::Held => "held",
        }
    }

    /// For people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NewestChain => "leads to the newest transaction",
            Self::NewestOfLevel => "is the newest file of its level",
            Self::WindowStart => "starts restores to the beginning of the window",
            Self::Window => "restores a point in the window",
            Self::Young => "is younger than l0-retention",
            Self::Unmerged => "is not merged into level 1 yet",
            Self::Link => "closes a hole between other files",
            Self::Held => "restores a point that is held",
        }
    }
}

/// The files that are needed, each with the reason.
///
/// # Example
///
/// ```
/// use lockkeeper_core::inventory::{Inventory, ReplicaFile};
/// use lockkeeper_core::live_set::{LiveSet, Window};
/// use lockkeeper_core::retention::{facts, plan};
/// use lockkeeper_ltx::Level;
///
/// # let file = |level: u8, name: &str| ReplicaFile {
/// #     level: Level::new(level).expect("a level"),
/// #     name: name.parse().expect("a name"),
/// #     size: 1000,
/// #     created_ms: 0,
/// # };
/// let files = vec![
///     file(9, "0000000000000001-0000000000000001.ltx"),
///     file(9, "0000000000000001-0000000000000002.ltx"),
/// ];
/// let (inventory, window) = (Inventory::new(files), Window::default());
/// let now_ms = 7 * 24 * 3_600_000;
/// assert!(!window.is_young(&inventory.files()[0], now_ms));
/// let live = LiveSet::new(&inventory, &window, now_ms).expect("it can be restored");
/// let newest = live.need(&inventory.files()[1]).expect("the newest chain stays");
/// println!("{}: {}", newest.code(), newest.reason());
/// let keeps = plan(&facts(&inventory, &live, window, now_ms));
/// assert!(!keeps.is_empty());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveSet {
    needs: BTreeMap<(Level, FileName), Need>,
}

impl LiveSet {
    /// Finds what is needed of `inventory`.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if the newest transaction cannot be restored even now. Then nothing can be
    /// said about what is needed.
    pub fn new(inventory: &Inventory, window: &Window, now_ms: u64) -> Result<Self, PlanError> {
        let newest = restore::plan(inventory.files(), Target::Latest)?;
        let base = window_base(inventory, window, now_ms);
        let floor = base.map(|file| file.range().max());
        let merged = Level::new(1)
            .and_then(|level| inventory.newest(level))
            .map(|file| file.range().max());

        let mut live = Self {
            needs: BTreeMap::new(),
        };
        live.add(newest.files(), Need::NewestChain);
        for level in Level::all() {
            live.add(inventory.newest(level), Need::NewestOfLevel);
        }
        live.add(base, Need::WindowStart);
        for file in inventory.files() {
            let end = Some(file.range().max());
            let need = match file.level {
                Level::L0 if window.is_young(file, now_ms) => Some(Need::Young),
                Level::L0 => (end > floor.max(merged)).then_some(Need::Unmerged),
                _ => (end >= floor).then_some(Need::Window),
            };
            if let Some(need) = need {
                live.add([file], need);
            }
        }
        live.link(inventory, floor);
        Ok(live)
    }

    /// Why a file is needed, if it is.
    #[must_use]
    pub fn need(&self, file: &ReplicaFile) -> Option<Need> {
        self.needs.get(&(file.level, file.name)).copied()
    }

    /// Adds what restores the state of a time, if the replica has one. Returns the transaction that
    /// it is restored to.
    pub(crate) fn hold(&mut self, inventory: &Inventory, at_ms: u64) -> Option<Txid> {
        let after_ms = i64::try_from(at_ms).map_or(i64::MAX, |at_ms| at_ms.saturating_add(1));
        let chain = restore::plan(inventory.files(), Target::Before(after_ms)).ok()?;
        self.add(chain.files(), Need::Held);
        Some(chain.txid())
    }

    fn add<'a>(&mut self, files: impl IntoIterator<Item = &'a ReplicaFile>, need: Need) {
        for file in files {
            self.needs.entry((file.level, file.name)).or_insert(need);
        }
    }

    /// Adds what leads to the needed files from `floor` on, where they do not continue each other.
    fn link(&mut self, inventory: &Inventory, floor: Option<Txid>) {
        let mut files: Vec<&ReplicaFile> = inventory
            .files()
            .iter()
            .filter(|file| Some(file.range().max()) >= floor && can_be_restored(file))
            .collect();
        files.sort_by_key(|file| file.range().max());
        self.link_in_order(inventory, &files, |file| Target::Txid(file.range().max()));
        // A snapshot does not help a restore to a time before it was made, whatever it covers.
        files.sort_by_key(|file| (file.created_ms, file.range().max()));
        self.link_in_order(inventory, &files, |file| {
            Target::Before(file.created_ms.saturating_add(1))
        });
    }

    /// Each of `files` is to be restored with `target`, which admits itself and those before it.
    fn link_in_order(
        &mut self,
        inventory: &Inventory,
        files: &[&ReplicaFile],
        target: impl Fn(&ReplicaFile) -> Target,
    ) {
        // The last points that can be restored, with all files and with the needed ones.
        let (mut reached, mut reached_live) = (None, None);
        for file in files {
            let end = Some(file.range().max());
            if !follows(reached, file) {
                continue;
            }
            reached = reached.max(end);
            if self.need(file).is_none() {
                continue;
            }
            let linked = if follows(reached_live, file) {
                end
            } else if let Ok(chain) = restore::plan(inventory.files(), target(file)) {
                self.add(chain.files(), Need::Link);
                Some(chain.txid())
            } else {
                None
            };
            reached_live = reached_live.max(linked);
        }
    }

    /// Forgets every file that is needed for one reason.
    #[cfg(test)]
    pub(crate) fn forget(&mut self, need: Need) {
        self.needs.retain(|_, found| *found != need);
    }
}

/// The snapshot that restores to the beginning of the window start with: the newest that is older
/// than the window and not past the first point in it. None if all snapshots are in the window.
fn window_base<'a>(
    inventory: &'a Inventory,
    window: &Window,
    now_ms: u64,
) -> Option<&'a ReplicaFile> {
    let start_ms = window.start_ms(now_ms);
    let in_window = |file: &&ReplicaFile| file.created_unix_ms() >= start_ms;
    let files = inventory.files().iter();
    let first_point = files.filter(in_window).map(|file| file.range().max()).min();
    let can_be_base = |file: &&ReplicaFile| {
        let end = file.range().max();
        can_be_restored(file)
            && file.is_start()
            && file.created_unix_ms() < start_ms
            && first_point.is_none_or(|first| end <= first)
    };
    inventory
        .level(Level::SNAPSHOT)
        .iter()
        .filter(can_be_base)
        .max_by_key(|file| file.range().max())
}

/// Whether a restore can use the file at all.
fn can_be_restored(file: &ReplicaFile) -> bool {
    file.size >= HEADER_LEN as u64 && (file.level != Level::SNAPSHOT || file.is_start())
}

/// Whether the end of `file` can be restored if `reached` can.
fn follows(reached: Option<Txid>, file: &ReplicaFile) -> bool {
    file.is_start()
        || reached
            .is_some_and(|reached| reached.next().is_none_or(|next| file.range().min() <= next))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
