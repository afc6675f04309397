//! The measurements. Each is run by one program at a time, in a fresh place.

mod bulk;
mod commits;
mod idle;
mod large;
mod latency;
mod many;

use anyhow::Result;
use clap::ValueEnum;

use crate::place::Place;
use crate::program::Binary;
use crate::quantity::Quantity;

/// What a measurement found.
pub(crate) type Figures = Vec<(Quantity, f64)>;

/// How much is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Size {
    Full,
    /// A tenth.
    Quick,
}

impl Size {
    pub(crate) fn of(self, full: u32) -> u32 {
        match self {
            Self::Full => full,
            Self::Quick => full.div_ceil(10),
        }
    }
}

/// Which one.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Measure {
    /// Small commits in quick succession
    Commits,
    /// Large transactions
    Bulk,
    /// A lone commit
    Latency,
    /// First sync and restore of a large database
    Large,
    /// Restore of many small files
    Many,
    /// Databases nobody writes to
    Idle,
}

impl Measure {
    pub(crate) const ALL: [Self; 6] = [
        Self::Commits,
        Self::Bulk,
        Self::Latency,
        Self::Large,
        Self::Many,
        Self::Idle,
    ];

    pub(crate) fn run(self, binary: &Binary, place: &Place, size: Size) -> Result<Figures> {
        match self {
            Self::Commits => commits::run(binary, place, size),
            Self::Bulk => bulk::run(binary, place, size),
            Self::Latency => latency::run(binary, place, size),
            Self::Large => large::run(binary, place, size),
            Self::Many => many::run(binary, place, size),
            Self::Idle => idle::run(binary, place, size),
        }
    }
}
