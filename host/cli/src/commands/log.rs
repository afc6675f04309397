use anyhow::Result;
use lockkeeper::logs::LogSettings;

use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make the database of the log; the application makes it too
    Init,
}

impl Log {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Action::Init => {
                let settings =
                    LogSettings::of_application(globals.db_path()?, &globals.identities()?)?;
                settings.create()?;
                eprintln!("The log is in {}", settings.path.display());
                Ok(())
            }
        }
    }
}
