use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stdin};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use lockkeeper::config::{KIT_MAX, Passphrase, RecoveryKit};

use crate::args::Globals;

/// Longer than any passphrase; keeps a wrong path from filling the memory.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

#[derive(clap::Args)]
pub(crate) struct Kit {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Args)]
struct Words {
    /// Read the passphrase from the first line of this file (default: ask for it, or read it from
    /// standard input)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Write the key and the litestream configuration to a new file that a passphrase opens
    Export {
        #[command(flatten)]
        words: Words,
        /// The new file: keep it away from this machine
        file: PathBuf,
    },
    /// Unpack a kit on a new machine
    Import {
        #[command(flatten)]
        words: Words,
        /// Where to
        #[arg(short = 'o', value_name = "FOLDER", default_value = ".")]
        output: PathBuf,
        /// The kit
        file: PathBuf,
    },
}

impl Kit {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Action::Export { words, file } => export(globals, &words, &file),
            Action::Import {
                words,
                output,
                file,
            } => import(&words, &output, &file),
        }
    }
}

fn export(globals: &Globals, words: &Words, path: &Path) -> Result<()> {
    let kit = RecoveryKit::collect(&globals.store()?, &globals.identities()?)?;
    let passphrase = words.read("Passphrase of the new kit: ")?;
    if words.asks() && words.read("Again: ")? != passphrase {
        bail!("the two passphrases differ");
    }
    let passphrase = Passphrase::for_new_kit(passphrase)?;
    let sealed = kit.seal(&passphrase)?;
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = created.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(&sealed)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    // A kit that does not open is found out now, not when it is needed.
    RecoveryKit::open(&read(path)?, &passphrase)?;
    eprintln!(
        "Wrote the recovery kit {}. Keep it and its passphrase apart, and both away from this \
         machine. Export a new one whenever the key or the litestream configuration changes.",
        path.display()
    );
    Ok(())
}

fn import(words: &Words, folder: &Path, path: &Path) -> Result<()> {
    let sealed = read(path)?;
    let passphrase = Passphrase::new(words.read("Passphrase of the kit: ")?);
    let kit = RecoveryKit::open(&sealed, &passphrase)?;
    for file in kit.unpack(folder)? {
        eprintln!("Wrote {}", file.display());
    }
    eprintln!("README.txt says how to go on");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(KIT_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

impl Words {
    /// Whether somebody is there to be asked.
    fn asks(&self) -> bool {
        self.passphrase_file.is_none() && stdin().is_terminal()
    }

    /// Never from the command line, which every user of the machine can see.
    fn read(&self, prompt: &str) -> Result<String> {
        match &self.passphrase_file {
            Some(path) => {
                let file =
                    File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                first_line(file).with_context(|| path.display().to_string())
            }
            None if self.asks() => {
                rpassword::prompt_password(prompt).context("cannot ask for a passphrase")
            }
            None => first_line(stdin()).context("standard input"),
        }
    }
}

fn first_line(input: impl Read) -> Result<String> {
    let mut line = String::new();
    BufReader::new(input.take(PASSPHRASE_BYTES_MAX))
        .read_line(&mut line)
        .context("cannot read a passphrase")?;
    let line = line.trim_end_matches(['\r', '\n']);
    ensure!(!line.is_empty(), "there is no passphrase");
    Ok(line.to_owned())
}
