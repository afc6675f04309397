use anyhow::Result;
use lockkeeper::config::ConfigStore;

use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct App {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Create the database with a default configuration
    Create,
}

impl App {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Action::Create => {
                let path = globals.db_path()?;
                ConfigStore::create(&path, &globals.identities()?)?;
                eprintln!(
                    "Application database created and configured successfully: {}",
                    path.display()
                );
                Ok(())
            }
        }
    }
}
