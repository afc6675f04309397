use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::config::KeyFile;

use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct Keygen {
    /// Write the key to this new file instead of stdout
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Keygen {
    pub(crate) fn run(self, _globals: &Globals) -> Result<()> {
        let key = KeyFile::generate();
        match self.output {
            Some(path) => key.write(path)?,
            None => std::io::stdout().write_all(key.text().as_bytes())?,
        }
        eprintln!("Public key: {}", key.recipient());
        Ok(())
    }
}
