//! Conditions in which a replica silently goes wrong, staged for both programs on real files.
//!
//! A [`Hazard`] is staged with nothing but the command line of a [`Program`], as a user would, and
//! tells what it found. [`page`] makes `docs/compared.md` of what both programs did.

mod app;
mod damaged;
mod follow;
mod idle;
mod leftover;
mod lost;
mod offline;
pub mod page;
mod place;
pub mod program;
mod replaced;
mod requests;
mod restored;
mod vanished;

use std::time::{Duration, Instant};

pub use program::Program;

/// How often something is looked at that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Every hazard, in the order of the page.
pub const HAZARDS: [&Hazard; 10] = [
    &idle::HAZARD,
    &replaced::SMALLER,
    &replaced::LARGER,
    &vanished::HAZARD,
    &damaged::HAZARD,
    &lost::HAZARD,
    &leftover::HAZARD,
    &follow::HAZARD,
    &offline::HAZARD,
    &requests::HAZARD,
];

/// A condition, and what should hold in it.
#[derive(Debug)]
pub struct Hazard {
    /// What should hold, in a few words; no two hazards have the same.
    pub promise: &'static str,
    /// How it is staged.
    pub staging: &'static str,
    observe: fn(&Program, Scale) -> Finding,
}

impl Hazard {
    /// Stages it for a program in a folder of its own, and looks what happens.
    ///
    /// # Panics
    ///
    /// If it cannot be staged.
    #[must_use]
    pub fn observe(&self, program: &Program, scale: Scale) -> Finding {
        (self.observe)(program, scale)
    }
}

/// How large the databases are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scale {
    /// As in the page.
    Full,
    /// A tenth: the same happens, faster.
    Quick,
}

impl Scale {
    fn of(self, full: u32) -> u32 {
        match self {
            Self::Full => full,
            Self::Quick => full / 10,
        }
    }
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whether what should hold did.
    pub holds: bool,
    /// What happened. Only figures after [`page::MEASURED`] differ from run to run.
    pub words: String,
}

/// A measured figure, marked as one.
fn figure(value: f64, unit: &str) -> String {
    format!("{} {value:.2} {unit}", page::MEASURED)
}

/// Looks again and again whether something is so; `false` if it is not after `patience`.
fn comes_true(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
