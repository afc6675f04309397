//! Who decides: in the configuration store, and in a process that runs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lockkeeper::control::{Client, InstallAnswer, PolicyIdentity};
use lockkeeper::policy::{Component, PolicySource, StoredPolicies, self_test};

use crate::args::Globals;
use crate::control::Control;
use crate::{runtime, text};

/// How many seconds an answer may take beside the comparison: a large component is compiled first.
const SECONDS: u64 = 60;

#[derive(clap::Args)]
pub(crate) struct Install {
    #[command(flatten)]
    control: Control,
    /// The SHA-256 that it must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Decisions that it answers beside the current component before it decides
    #[arg(long, value_name = "DECISIONS", default_value_t = 20)]
    shadow: u32,
    /// How long to wait for them
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    shadow_time: u64,
    /// Why it is installed, for the history
    #[arg(long, default_value = "")]
    description: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The component
    file: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    control: Control,
    /// Which generation of the configuration store is to decide again; 1 is the one before
    #[arg(default_value_t = 1)]
    generation: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Install {
    /// A store keeps it for the next start or SIGHUP, a socket installs it now. What fails first
    /// leaves the rest undone.
    pub(super) fn run(self, globals: &Globals) -> Result<()> {
        let bytes = std::fs::read(&self.file)
            .with_context(|| format!("cannot read the policy {}", self.file.display()))?;
        let source = PolicySource::Bytes(bytes.clone());
        let component = Component::load_pinned(&source, self.sha256.as_deref())?;
        self_test(&component)?;
        let stored = stored(globals)?;
        let client = client(&self.control);
        if stored.is_none() && client.is_none() {
            bail!("say where: -dbpath FILE with -age-key FILE, -socket FILE, or both");
        }
        let digest = component.digest();
        let answer = client.map(|client| {
            runtime::block_on(async {
                let install =
                    client.install_policy(bytes, Some(digest), self.shadow, self.shadow_time);
                Ok(install.await?)
            })
        });
        let answer = answer.transpose()?;
        if let Some(stored) = stored {
            stored.save(&source, &self.description)?;
            eprintln!(
                "Saved {} {} in the configuration store",
                component.name(),
                component.version()
            );
        }
        show(answer.as_ref(), self.json)
    }
}

impl Rollback {
    pub(super) fn run(self, globals: &Globals) -> Result<()> {
        let (stored, client) = (stored(globals)?, client(&self.control));
        if stored.is_none() && client.is_none() {
            bail!("say where: -dbpath FILE with -age-key FILE, -socket FILE, or both");
        }
        let is_stored = stored.is_some();
        if let Some(stored) = stored {
            stored.roll_back(self.generation)?;
            eprintln!(
                "Rolled the configuration store back to generation {}",
                self.generation
            );
        }
        let Some(client) = client else { return Ok(()) };
        let deciding = runtime::block_on(async {
            // What the store says now is what decides after the next start, so it decides now too.
            if is_stored {
                client.reload_policy().await?;
                return Ok(client.policy().await?);
            }
            Ok(client.roll_back_policy().await?)
        })?;
        if self.json {
            return text::print_json(&deciding);
        }
        text::say(format_args!(
            "now decides {}",
            named(deciding.component.as_ref())
        ))?;
        Ok(())
    }
}

/// The store that the global flags name, if they name one.
fn stored(globals: &Globals) -> Result<Option<StoredPolicies>> {
    match globals.db_path() {
        Ok(path) => Ok(Some(StoredPolicies::new(path, globals.identities()?))),
        Err(_) => Ok(None),
    }
}

fn client(control: &Control) -> Option<Client> {
    let socket = control.socket.clone()?;
    Some(control.client_at(socket, SECONDS))
}

fn show(answer: Option<&InstallAnswer>, as_json: bool) -> Result<()> {
    let Some(answer) = answer else { return Ok(()) };
    if as_json {
        return text::print_json(answer);
    }
    text::say(format_args!(
        "now decides {}",
        named(answer.component.as_ref())
    ))?;
    text::say(format_args!(
        "it answered {} questions, and {} decisions beside {}: {} of them differently, {} changed \
         by the guard",
        answer.tested,
        answer.shadowed,
        named(answer.previous.as_ref()),
        answer.differed,
        answer.clamped
    ))?;
    Ok(())
}

fn named(identity: Option<&PolicyIdentity>) -> String {
    let short = |it: &PolicyIdentity| it.sha256.chars().take(12).collect::<String>();
    identity.map_or_else(
        || "the built-in rules".into(),
        |it| format!("{} {} ({})", it.name, it.version, short(it)),
    )
}
