//! The commands of the encrypted configuration; each also works without `config` before it.

mod save;
mod set;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use lockkeeper::config::{APPLICATION_SCOPE, Entry};

pub(super) use self::show::list;
use crate::args::Globals;

#[derive(clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Nested,
}

#[derive(clap::Subcommand)]
enum Nested {
    /// List the generations
    List { scope: Option<String> },
    #[command(flatten)]
    Any(Action),
}

#[derive(clap::Args)]
pub(crate) struct Scope {
    /// Whose configuration
    #[arg(long, default_value = APPLICATION_SCOPE)]
    scope: String,
}

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Encrypt a file and save it as the newest generation
    Save {
        #[command(flatten)]
        scope: Scope,
        /// How to read it (default: the file's extension)
        #[arg(long)]
        format: Option<String>,
        /// Why it is saved
        #[arg(long)]
        desc: Option<String>,
        file: PathBuf,
    },
    /// Print the values, one `path = value` a line
    Get {
        #[command(flatten)]
        scope: Scope,
        /// Print secrets too
        #[arg(long)]
        reveal: bool,
        /// Only paths that contain this
        filter: Option<String>,
    },
    /// Print the paths of the values, one a line
    Paths {
        #[command(flatten)]
        scope: Scope,
        /// Only paths that contain this
        filter: Option<String>,
    },
    /// Change one value of a TOML configuration and save it as the newest generation
    Set {
        #[command(flatten)]
        scope: Scope,
        /// Why it is saved
        #[arg(long)]
        desc: Option<String>,
        /// Which value, as `paths` prints it
        path: String,
        /// A TOML value, or else text; `@FILE` takes the text from a file
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print the newest generation as it was saved, secrets included
    Dump {
        #[command(flatten)]
        scope: Scope,
    },
    /// List the scopes
    Scopes,
    /// Compare a generation with the newest, secrets included
    Diff {
        #[command(flatten)]
        scope: Scope,
        generation: u32,
    },
    /// Save an older generation again as the newest
    Rollback {
        #[command(flatten)]
        scope: Scope,
        generation: u32,
    },
    /// Seal every generation as it is: look at them first
    Reseal {
        #[command(flatten)]
        scope: Scope,
    },
}

impl Config {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self.action {
            Nested::List { scope } => list(globals, scope.as_deref()),
            Nested::Any(action) => action.run(globals),
        }
    }
}

impl Action {
    pub(crate) fn run(self, globals: &Globals) -> Result<()> {
        match self {
            Self::Save {
                scope,
                format,
                desc,
                file,
            } => save::save(globals, &scope.scope, format, desc, &file),
            Self::Get {
                scope,
                reveal,
                filter,
            } => show::get(globals, &scope.scope, filter.as_deref(), reveal),
            Self::Paths { scope, filter } => show::paths(globals, &scope.scope, filter.as_deref()),
            Self::Set {
                scope,
                desc,
                path,
                value,
            } => set::set(globals, &scope.scope, desc, &path, &value),
            Self::Dump { scope } => show::dump(globals, &scope.scope),
            Self::Scopes => show::scopes(globals),
            Self::Diff { scope, generation } => show::diff(globals, &scope.scope, generation),
            Self::Rollback { scope, generation } => rollback(globals, &scope.scope, generation),
            Self::Reseal { scope } => reseal(globals, &scope.scope),
        }
    }
}

/// Opens a generation; says on standard error what there is to know about it.
fn open(globals: &Globals, scope: &str, generation: u32) -> Result<Entry> {
    let entry = globals
        .store()?
        .get(&globals.identities()?, scope, generation)?;
    if let Some(warning) = entry.warning() {
        eprintln!("warning: {warning}");
    }
    Ok(entry)
}

fn rollback(globals: &Globals, scope: &str, generation: u32) -> Result<()> {
    let store = globals.store()?;
    store.rollback(&globals.identities()?, scope, generation)?;
    eprintln!("Rolled back scope '{scope}' to generation {generation}");
    Ok(())
}

fn reseal(globals: &Globals, scope: &str) -> Result<()> {
    let store = globals.store()?;
    let done = store.reseal(&globals.identities()?, scope)?;
    eprintln!("Sealed {} generations of scope '{scope}'", done.sealed);
    if done.unreadable > 0 {
        eprintln!(
            "warning: {} generations are for a key that is not in the key file and were left alone",
            done.unreadable
        );
    }
    Ok(())
}
