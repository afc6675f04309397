//! What is measured, and how good it has to be.

use serde::Serialize;

/// One figure of a program.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    CommitsCpu,
    BulkCpu,
    Latency,
    FirstSync,
    LargeRestore,
    LargeRestoreOverCopy,
    LargeRestoreMemory,
    ManyRestore,
    IdleMemory,
    IdleCpu,
}

/// What is reached at most where it is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// Times what the official binary takes.
    OfOfficial(f64),
    /// In the unit of the quantity.
    Absolute(f64),
}

impl Quantity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CommitsCpu => "CPU for 20,000 single-row commits at 2,000 a second",
            Self::BulkCpu => "CPU per GB written in large transactions",
            Self::Latency => "One commit after a quiet second, until its object exists (median)",
            Self::FirstSync => "First sync of a database of 1 GB",
            Self::LargeRestore => "Restore of a database of 1 GB",
            Self::LargeRestoreOverCopy => "The same, as a multiple of copying and syncing the file",
            Self::LargeRestoreMemory => "Peak memory of that restore",
            Self::ManyRestore => "Restore of 3,000 files of level 0",
            Self::IdleMemory => "Memory with 1,000 idle databases",
            Self::IdleCpu => "CPU with 1,000 idle databases",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CommitsCpu | Self::FirstSync | Self::LargeRestore | Self::ManyRestore => "s",
            Self::BulkCpu => "s/GB",
            Self::Latency => "ms",
            Self::LargeRestoreOverCopy => "×",
            Self::LargeRestoreMemory => "MiB",
            Self::IdleMemory => "MB",
            Self::IdleCpu => "% of a core",
        }
    }

    /// What a profile shows where the bar is missed.
    pub(crate) fn limit(self) -> Option<&'static str> {
        match self {
            Self::CommitsCpu => Some(
                "a third goes to syncing files to the disk, twice for each file that is sent, a \
                 fifth to SQLite's checkpoints, and an eighth to switches between threads",
            ),
            Self::LargeRestoreOverCopy => {
                Some("a fifth is the start: the component that reads the URL is compiled first")
            }
            Self::BulkCpu => Some(
                "a third goes to SQLite's checkpoints, a fifth to LZ4, and a tenth each to the \
                 checksums of the log's frames and to copies out of the page cache",
            ),
            Self::ManyRestore => {
                Some("most of it is the start: the component that reads the URL is compiled first")
            }
            Self::IdleMemory => Some(
                "each database has three connections of ours, which know its schema each, and 32 \
                 KiB of index that SQLite shares between all that are open",
            ),
            Self::IdleCpu => Some(
                "merges of what was written last are looked for at growing intervals, from 15 s to \
                 ten minutes; at rest a database is looked at every 10 s",
            ),
            _ => None,
        }
    }

    pub(crate) fn bar(self) -> Bar {
        match self {
            Self::CommitsCpu => Bar::OfOfficial(0.33),
            Self::BulkCpu | Self::FirstSync | Self::LargeRestore => Bar::OfOfficial(0.5),
            Self::ManyRestore => Bar::OfOfficial(0.25),
            Self::Latency => Bar::Absolute(10.0),
            Self::LargeRestoreOverCopy => Bar::Absolute(1.5),
            Self::LargeRestoreMemory => Bar::Absolute(64.0),
            Self::IdleMemory => Bar::Absolute(100.0),
            Self::IdleCpu => Bar::Absolute(0.2),
        }
    }
}
