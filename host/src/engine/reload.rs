//! From one configuration to another while everything runs. Databases whose settings stay the same
//! are left alone, and if the new one does not work the one before is put back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use tokio::time::timeout;

use super::database::blocking;
use super::fleet::{Fleet, Handle};
use super::status::DatabaseState;
use crate::configuration::Entry;
use crate::settings::{DatabaseSettings, ReplicaSettings};
use crate::{Error, ErrorKind, Result};

/// How long a new replica may take to say what it holds, before anything is changed.
const PROBE_MAX: Duration = Duration::from_secs(10);
/// Replicas that are asked at a time.
const PROBES_MAX: usize = 8;
/// How long a database that is to change may take to send what it captured. What is left then is on
/// the local disk, and goes to the new replica.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// How long databases may take to reach their new replicas. Longer than an attempt takes at most.
const REACH_MAX: Duration = Duration::from_secs(40);

/// What a reload changed, in numbers of databases. Those of directories count when they are found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Their settings are what they were; they were not touched.
    pub kept: usize,
    /// They were started again with other settings.
    pub changed: usize,
    /// They were not replicated before.
    pub added: usize,
    /// They are not replicated any more; what was committed of them is sent.
    pub removed: usize,
}

/// Replicates what `wanted` names instead of what `before` does.
///
/// # Errors
///
/// `Invalid`, `Conflict` or `Unavailable` if that does not work; then everything is as it was.
pub(super) async fn change(
    fleet: &Arc<Fleet>,
    before: &[Entry],
    wanted: &[Entry],
) -> Result<Reloaded> {
    probe(before, wanted).await?;
    let changing = async {
        let reloaded = switch(fleet, wanted).await?;
        wait_until_reached(&reloaded.begun).await?;
        Ok(reloaded.counts)
    };
    let changed: Result<Reloaded> = tokio::select! {
        changed = changing => changed,
        () = fleet.is_closing() => return Err(Error::unavailable("replication ends")),
    };
    let Err(error) = changed else { return changed };
    tracing::error!(%error, "the new configuration does not work; going back to the one before");
    tokio::select! {
        back = switch_back(fleet, before) => back?,
        () = fleet.is_closing() => return Err(Error::unavailable("replication ends")),
    }
    Err(error)
}

/// What a switch did.
struct Switched {
    counts: Reloaded,
    /// The databases that were started.
    begun: Vec<Handle>,
}

async fn switch(fleet: &Arc<Fleet>, entries: &[Entry]) -> Result<Switched> {
    fleet.directories.stop().await;
    let mut counts = Reloaded::default();
    let mut ending = Vec::new();
    let mut starting: BTreeMap<_, DatabaseSettings> = BTreeMap::new();
    for member in fleet.members() {
        match settings_of(entries, &member.path) {
            Some(settings) if settings == *member.settings => counts.kept += 1,
            Some(settings) => {
                counts.changed += 1;
                ending.extend(fleet.part(&member.path));
                starting.insert(member.path, settings);
            }
            None => {
                counts.removed += 1;
                ending.extend(fleet.part(&member.path));
            }
        }
    }
    for entry in entries {
        if let Entry::File(settings) = entry
            && !starting.contains_key(&settings.path)
            && fleet.members().iter().all(|it| it.path != settings.path)
        {
            counts.added += 1;
            starting.insert(settings.path.clone(), settings.clone());
        }
    }
    join_all(ending.iter().map(|handle| end(handle, &starting))).await;
    for settings in starting.values().cloned() {
        let (members, path) = (Arc::clone(fleet), settings.path.clone());
        blocking(move || members.add(settings))
            .await
            .map_err(|error| {
                let text = format!("cannot replicate {}", path.display());
                Error::new(error.kind(), text).with_source(error)
            })?;
    }
    add_directories(fleet, entries);
    let mut begun = fleet.members();
    begun.retain(|member| starting.contains_key(&member.path));
    Ok(Switched { counts, begun })
}

/// As [`switch`], to what worked before; what cannot be had at once is waited for.
async fn switch_back(fleet: &Arc<Fleet>, entries: &[Entry]) -> Result<()> {
    fleet.directories.stop().await;
    let mut ending = Vec::new();
    for member in fleet.members() {
        if settings_of(entries, &member.path).as_ref() != Some(&*member.settings) {
            ending.extend(fleet.part(&member.path));
        }
    }
    // What it captured since is in its local files, and they go on from there.
    join_all(ending.iter().map(Handle::abort)).await;
    let members = fleet.members();
    let is_missing = |path: &Path| members.iter().all(|member| member.path != path);
    let parted = ending.iter().map(|handle| handle.path.as_path());
    let of_directories = parted.filter_map(|path| settings_of(entries, path));
    let of_files = entries.iter().filter_map(|entry| match entry {
        Entry::File(settings) => Some(settings.clone()),
        Entry::Directory(_) => None,
    });
    let missing: BTreeMap<_, _> = of_files
        .chain(of_directories)
        .filter(|settings| is_missing(&settings.path))
        .map(|settings| (settings.path.clone(), settings))
        .collect();
    for settings in missing.into_values() {
        fleet.add_waiting(settings)?;
    }
    add_directories(fleet, entries);
    Ok(())
}

/// Lets a database send what it captured, for as long as there is time. One that is started again
/// is ended then; another goes on sending beside everything else.
async fn end(handle: &Handle, starting: &BTreeMap<std::path::PathBuf, DatabaseSettings>) {
    if timeout(FLUSH_MAX, handle.end()).await.is_ok() {
        return;
    }
    tracing::warn!(
        database = %handle.path.display(),
        "its replica did not take everything in time; what is left is on the local disk"
    );
    if starting.contains_key(&handle.path) {
        handle.abort().await;
    }
}

fn add_directories(fleet: &Arc<Fleet>, entries: &[Entry]) {
    for entry in entries {
        if let Entry::Directory(settings) = entry {
            fleet.directories.add(settings.clone(), fleet);
        }
    }
    let rank = |settings: &DatabaseSettings| {
        let mut all = entries.iter();
        all.position(|entry| entry.has(&settings.path))
            .unwrap_or(usize::MAX)
    };
    fleet.sort_by(rank);
}

/// How the database at `path` is to be replicated; an entry of its own wins over a directory.
fn settings_of(entries: &[Entry], path: &Path) -> Option<DatabaseSettings> {
    let own = entries.iter().find_map(|entry| match entry {
        Entry::File(settings) if settings.path == path => Some(settings.clone()),
        _ => None,
    });
    own.or_else(|| {
        entries.iter().find_map(|entry| match entry {
            Entry::Directory(directory) => directory.database(path),
            Entry::File(_) => None,
        })
    })
}

/// Asks every replica that was not used before what it holds.
async fn probe(before: &[Entry], wanted: &[Entry]) -> Result<()> {
    let mut new: Vec<ReplicaSettings> = Vec::new();
    for settings in wanted.iter().map(Entry::replica) {
        if before
            .iter()
            .all(|entry| entry.replica().place != settings.place)
        {
            new.push(settings.clone());
        }
    }
    let mut probes = futures::stream::iter(new.into_iter().map(ask)).buffer_unordered(PROBES_MAX);
    while let Some(asked) = probes.next().await {
        asked?;
    }
    Ok(())
}

async fn ask(settings: ReplicaSettings) -> Result<()> {
    let replica = settings.open()?;
    match timeout(PROBE_MAX, replica.list_all()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            let text = format!("the replica {replica} cannot be used");
            Err(Error::new(error.kind(), text).with_source(error))
        }
        Err(_) => Err(Error::unavailable(format!(
            "the replica {replica} does not answer within {}",
            humantime::format_duration(PROBE_MAX)
        ))),
    }
}

async fn wait_until_reached(begun: &[Handle]) -> Result<()> {
    let reached = join_all(begun.iter().map(is_reached));
    for reached in reached.await {
        reached?;
    }
    Ok(())
}

/// Returns when a database is replicated, or there is none; or says why not.
async fn is_reached(handle: &Handle) -> Result<()> {
    let mut state = handle.shared.subscribe_state();
    let settled = state.wait_for(|state| {
        matches!(
            state,
            DatabaseState::Replicating | DatabaseState::Absent | DatabaseState::Fenced { .. }
        )
    });
    // The sender is part of what the handle holds.
    let _ = timeout(REACH_MAX, settled).await;
    let failed = |kind, why: &str| {
        let path = handle.path.display();
        Err(Error::new(
            kind,
            format!("{path} cannot be replicated: {why}"),
        ))
    };
    match &*handle.shared.subscribe_state().borrow() {
        DatabaseState::Failing(why) | DatabaseState::ReplicaFailing(why) => {
            failed(ErrorKind::Unavailable, why)
        }
        DatabaseState::Fenced { owner, .. } => failed(
            ErrorKind::Fenced,
            &format!("the replica belongs to {owner}"),
        ),
        // A first file of a large database takes longer than that; it is on its way.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
