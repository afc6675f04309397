//! One module a command; a new one is its `mod` line and its line in `commands!`.

mod app;
mod config;
mod keygen;

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
    #[command(flatten)]
    Flat(config::Action),
}
