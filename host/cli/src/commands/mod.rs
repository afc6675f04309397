//! One module a command; a new one is its `mod` line and its line in `commands!`.

mod app;
mod config;
mod databases;
mod doctor;
mod info;
mod keygen;
mod list;
mod log;
mod ltx;
mod policy;
mod recovery_kit;
mod replicate;
mod reset;
mod restore;
mod status;
mod sync;
mod verify;
mod version;

use anyhow::Result;

use crate::args::Globals;

macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($arguments:ty),)*) => {
        /// What to do.
        #[derive(clap::Subcommand)]
        pub(crate) enum Command { $($(#[$attribute])* $name($arguments),)* }

        impl Command {
            pub(crate) fn run(self, globals: &Globals) -> Result<()> {
                match self { $(Self::$name(arguments) => arguments.run(globals),)* }
            }
        }
    };
}

commands! {
    /// Make a new age key
    Keygen(keygen::Keygen),
    /// Manage the application database
    App(app::App),
    /// Manage the encrypted configuration
    Config(config::Config),
    /// Prepare for the loss of the machine, or come back from it
    RecoveryKit(recovery_kit::Kit),
    /// Manage the database of the log
    Log(log::Log),
    /// Replicate until a signal ends it
    Replicate(replicate::Replicate),
    /// Make a database from a replica
    Restore(restore::Restore),
    /// List the files of a replica
    Ltx(ltx::Ltx),
    /// List the databases of the configuration
    Databases(databases::Databases),
    /// Show how far each database is
    Status(status::Status),
    /// Show which process replicates
    Info(info::Info),
    /// List what a process replicates; with -dbpath, the generations of the configuration
    List(list::List),
    /// Send what is committed to one database now
    Sync(sync::Sync),
    /// Prove that replicas restore to their databases
    Verify(verify::Verify),
    /// Prove that a store does what a replica needs
    Doctor(doctor::Doctor),
    /// Delete what was captured locally, so that replication goes on from the replica
    Reset(reset::Reset),
    /// Print the version
    Version(version::Version),
    /// Write, try and swap policy components
    Policy(policy::Policy),
    #[command(flatten)]
    Flat(config::Action),
}
